"""The example's predictor with windows into it; runs inside the container."""

import os
import time

import numpy as np
from kserve import InferOutput
from predictor import Predictor


class Counting(Predictor):
    """Answers, beside the digit, how many calls its process had answered before, and that process's id."""

    def load(self):
        self.calls = 0
        return super().load()

    def answer(self, payload):
        before, self.calls = self.calls, self.calls + 1
        outputs = super().answer(payload)
        for name, value in (("calls", before), ("pid", os.getpid())):
            output = InferOutput(name, [1], "INT64")
            output.set_data_from_numpy(np.array([value]), binary_data=False)
            outputs.append(output)
        return outputs


class SlowLoad(Counting):
    def load(self):
        print("loading slowly", flush=True)
        time.sleep(60)
        return super().load()


class SlowWarmup(Counting):
    """Takes its time over warm-up requests, which say what they are, and not over others."""

    def predict(self, payload, headers=None):
        if (headers or {}).get("x-kserve-warmup") == "true":
            print("warming slowly", flush=True)
            time.sleep(0.05)
        return super().predict(payload, headers)


class Hungry(Counting):
    """Needs 50 MB for each row of a request."""

    def answer(self, payload):
        memory = np.ones((payload.inputs[0].shape[0], 50_000_000), dtype=np.uint8)
        assert memory.any()
        return super().answer(payload)
