"""What a program is told of a warm-up that failed."""

import asyncio

import numpy as np
import pytest

from kserve_warmup import SampleSet, WarmupModel, WarmupSettings
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.serving.lifecycle import lifecycle_of


class Broken(WarmupModel):
    def load(self):
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        raise KeyError("weights")


def test_the_error_of_a_failed_warm_up_carries_its_report(tmp_path):
    body, _ = encode("grpc", [Tensor("x", "FP32", np.ones((1, 2), np.float32))])
    SampleSet(model="m", source="test", samples=(request("grpc", body),)).save(tmp_path)
    model = Broken("m")
    model.warmup_settings = WarmupSettings(samples=tmp_path)
    assert model.load()

    with pytest.raises(WarmupFailedError, match="cannot be warmed over grpc") as caught:
        asyncio.run(lifecycle_of(model).warmup.over_grpc())

    (stratum,) = caught.value.report.failed
    assert (caught.value.report.model, stratum.protocol, stratum.failures) == ("m", "grpc", 1)
