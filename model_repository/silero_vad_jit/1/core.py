"""silero-vad as TorchScript, the same for every server: arrays by name in, arrays by name out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Arrays = dict[str, np.ndarray]


def load(folder: Path) -> Callable[[Arrays], Arrays]:
    torch.set_num_threads(1)  # as the package's own wrapper does
    # the file's outer module keeps the state of one listener; the network inside takes it, so that clients carry theirs
    network = torch.jit.load(folder / "silero_vad.jit", map_location="cpu")._model  # noqa: SLF001

    @torch.inference_mode()
    def listen(inputs: Arrays) -> Arrays:
        # a server's arrays may be read-only, and torch wants the rows of the state second
        audio, state = (torch.from_numpy(inputs[name].astype(np.float32)) for name in ("audio", "state"))
        speech, next_state = network(audio, state.transpose(0, 1).contiguous())
        return {"speech": speech.numpy(), "next_state": next_state.transpose(0, 1).contiguous().numpy()}

    return listen
