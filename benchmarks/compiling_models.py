"""Models that compile, as teams write them: ``kserve-warmup serve compiling_models:CLASS``."""

from pathlib import Path
from typing import Any

import kserve
import numpy as np

from kserve_warmup import WarmupModel

SHAPES = (1, 4, 16)
"""Rows of the requests: each is compiled by itself where a framework compiles for shapes."""

SILERO = Path(__file__).parents[1] / "model_repository" / "silero_vad_jit" / "1"


class Compiling(WarmupModel):
    """Answers a v2 request with one tensor of rows."""

    width = 64

    @classmethod
    def inputs(cls, rng: np.random.Generator, rows: int) -> dict[str, Any]:
        return {"x": rng.normal(size=(rows, cls.width)).astype(np.float32)}

    def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002  (KServe passes it)
        y = self.compute(*(given.as_numpy() for given in payload.inputs))
        output = kserve.InferOutput("y", [len(y)], "FP32")
        output.set_data_from_numpy(np.asarray(y, np.float32), binary_data=False)
        return kserve.InferResponse(payload.id or "1", self.name, [output])


class Numba(Compiling):
    """Nearest neighbours, with a cache."""

    def load(self) -> bool:
        import numba

        self.compute = numba.njit(cache=True)(nearest)
        self.ready = True
        return True


def nearest(rows: Any) -> Any:
    out = np.empty(rows.shape[0], np.float32)
    for i in range(rows.shape[0]):
        out[i] = np.sqrt(((rows[i] - rows[0]) ** 2).sum()) + np.abs(rows[i]).max() + np.sort(rows[i])[3]
    return out


class Jax(Compiling):
    """A network of six layers."""

    def load(self) -> bool:
        import jax
        import jax.numpy as jnp

        keys = jax.random.split(jax.random.PRNGKey(0), 6)
        weights = [jax.random.normal(key, (self.width, self.width)) / 8 for key in keys]

        def forward(x: Any) -> Any:
            for w in weights:
                x = jnp.tanh(x @ w) + jax.nn.softmax(x, axis=-1)
            return x.sum(axis=-1)

        self.compute = jax.jit(forward)
        self.ready = True
        return True


class TorchCompile(Compiling):
    """A small network for Inductor."""

    def load(self) -> bool:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)
        layers = [part for _ in range(4) for part in (torch.nn.Linear(self.width, self.width), torch.nn.GELU())]
        network = torch.compile(torch.nn.Sequential(*layers, torch.nn.LayerNorm(self.width)).eval(), dynamic=False)

        def compute(rows: Any) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(rows.copy())).sum(dim=-1).numpy()

        self.compute = compute
        self.ready = True
        return True


class TorchScript(Compiling):
    """silero-vad, which listens for speech; a network of its kind and size where its weights are not at hand."""

    @classmethod
    def inputs(cls, rng: np.random.Generator, rows: int) -> dict[str, Any]:
        shapes = {"audio": (rows, 576), "state": (rows, 2, 128)}
        return {name: (rng.normal(size=shape) / 10).astype(np.float32) for name, shape in shapes.items()}

    def load(self) -> bool:
        import torch

        if (SILERO / "silero_vad.jit").is_file():
            from kserve_warmup.demo.predictors import load_core

            listen = load_core(SILERO)
            self.compute = lambda audio, state: listen({"audio": audio, "state": state})["speech"][:, 0]
        else:
            torch.manual_seed(0)
            torch.set_num_threads(1)
            network = torch.jit.trace(listener(torch).eval(), (torch.zeros(1, 576), torch.zeros(1, 2, 128)))

            def compute(audio: Any, state: Any) -> Any:
                with torch.inference_mode():
                    given = (torch.from_numpy(array.copy()) for array in (audio, state))
                    return network(*given).numpy()

            self.compute = compute
        self.ready = True
        return True


def listener(torch: Any) -> Any:
    """Convolutions and one step of an LSTM, 310,000 weights."""

    class Listener(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            channels = ((1, 128, 8), (128, 64, 4), (64, 64, 4), (64, 128, 4))
            self.convolutions = torch.nn.ModuleList(torch.nn.Conv1d(i, o, 9, stride) for i, o, stride in channels)
            self.step, self.last = torch.nn.LSTMCell(128, 128), torch.nn.Linear(128, 1)

        def forward(self, audio: Any, state: Any) -> Any:
            heard = audio.unsqueeze(1)
            for convolution in self.convolutions:
                heard = torch.relu(convolution(torch.nn.functional.pad(heard, (4, 4))))
            hidden, _ = self.step(heard.mean(-1), (state[:, 0], state[:, 1]))
            return torch.sigmoid(self.last(hidden))[:, 0]

    return Listener()
