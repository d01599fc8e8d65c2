"""Models that compile, as teams write them: ``kserve-warmup serve compiling_models:CLASS``."""

from typing import Any

import kserve
import numpy as np

from kserve_warmup import WarmupModel

SHAPES = (1, 4, 16)
"""Rows of the requests: each is compiled by itself where a framework compiles for shapes."""


class Compiling(WarmupModel):
    """Answers a v2 request with one tensor of rows."""

    width = 64

    def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002  (KServe passes it)
        y = self.compute(payload.inputs[0].as_numpy())
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
