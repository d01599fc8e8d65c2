"""silero-vad in ONNX Runtime, the same for every server: arrays by name in, arrays by name out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

Arrays = dict[str, np.ndarray]
SAMPLE_RATE = np.array(16_000, np.int64)


def load(folder: Path) -> Callable[[Arrays], Arrays]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # as the package's own wrapper does
    session = onnxruntime.InferenceSession(folder / "silero_vad.onnx", options, providers=["CPUExecutionProvider"])

    def listen(inputs: Arrays) -> Arrays:
        audio, state = (inputs[name].astype(np.float32) for name in ("audio", "state"))
        feeds = {"input": audio, "state": state.transpose(1, 0, 2), "sr": SAMPLE_RATE}  # the network wants rows second
        speech, next_state = session.run(None, feeds)
        return {"speech": speech, "next_state": np.ascontiguousarray(next_state.transpose(1, 0, 2))}

    return listen
