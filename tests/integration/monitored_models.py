"""Models that compile for each kind of input, as KServe users have them: ``python monitored_models.py CLASS``."""

import sys

import kserve
import numpy as np

from kserve_warmup import WarmupModel


def array(payload):
    """Return the only input of a request, of any protocol."""
    return np.asarray(payload["instances"], float) if isinstance(payload, dict) else payload.inputs[0].as_numpy()


def answered(payload, value):
    """Return a number as an answer of the request's protocol."""
    if isinstance(payload, dict):
        return {"predictions": [float(value)]}
    output = kserve.InferOutput("y", [1], "FP32", [float(value)])
    return kserve.InferResponse(payload.id or "1", payload.model_name, [output])


class Numba(WarmupModel):
    def load(self):
        import numba

        self.function = numba.njit(_total)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        given = array(payload)
        return answered(payload, self.function(given if given.ndim < 3 else given.copy()))


def _total(values):
    return values.sum()


class Jax(WarmupModel):
    def load(self):
        import jax

        self.function = jax.jit(_total)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        return answered(payload, self.function(array(payload)))


class LazyJax(Jax):
    """Imports its framework for the first request that is larger."""

    def load(self):
        self.function = None
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        given = array(payload)
        if len(given) < 3:
            return answered(payload, given.sum())
        import jax

        self.function = self.function or jax.jit(_total)
        return answered(payload, self.function(given))


class Torch(WarmupModel):
    def load(self):
        import torch

        self.function = torch.compile(_total, dynamic=False)
        self.tensor = torch.as_tensor
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        return answered(payload, self.function(self.tensor(array(payload))))


if __name__ == "__main__":
    model = globals()[sys.argv.pop(1)]("model")
    model.load()
    kserve.ModelServer().start([model])
