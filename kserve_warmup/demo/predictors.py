"""The demo's models as KServe predictors: ``python -m kserve_warmup.demo.predictors REPOSITORY NAME…``.

A predictor loads the same ``core.py`` that Triton's ``model.py`` loads: both servers run one and the same model.
"""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, ModelServer
from kserve.utils.numpy_codec import from_np_dtype

from kserve_warmup.errors import WarmupError
from kserve_warmup.model import WarmupModel

Arrays = dict[str, np.ndarray[Any, Any]]
Core = Callable[[Arrays], Arrays]


class Predictor(WarmupModel):
    """A model of the demo's repository, its name being its folder's.

    Attributes:
        repository: The model repository that it is loaded from.
    """

    repository = Path("model_repository")

    def load(self) -> bool:
        """Load the model, as with any KServe model."""
        self.core = load_core(self.repository / self.name / "1")
        self.ready = True
        return bool(self.ready)

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:  # noqa: ARG002  (KServe passes it)
        """Answer a v1 body or a v2 request of any encoding."""
        return answer(self.name, self.core, payload)


def load_core(folder: Path) -> Core:
    """Return the model in a version folder of the repository.

    Raises:
        WarmupError: there is no such model.
    """
    path = folder / "core.py"
    if not path.is_file():
        raise WarmupError(f"{path} is missing: name a model of the demo's model repository")
    spec = importlib.util.spec_from_file_location(f"{folder.parent.name}_core", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Core, module.load(folder))


def answer(name: str, core: Core, payload: Any) -> Any:
    """Return what ``core`` answers to a request, in the request's own protocol."""
    if isinstance(payload, InferRequest):
        outputs = core({tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        return InferResponse(payload.id or str(uuid.uuid4()), name, [_tensor(n, a) for n, a in outputs.items()])
    rows = payload["instances"]
    if isinstance(rows[0], dict):
        inputs = {key: np.asarray([row[key] for row in rows]) for key in rows[0]}
    else:
        inputs = {"image": np.asarray(rows)}
    outputs = {key: array.tolist() for key, array in core(inputs).items()}
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}


def _tensor(name: str, array: np.ndarray[Any, Any]) -> InferOutput:
    tensor = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
    tensor.set_data_from_numpy(array, binary_data=False)
    return tensor


def main() -> None:
    """Serve models with KServe; options are KServe's own."""
    repository, *names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    Predictor.repository = Path(repository)
    models = [Predictor(name) for name in names]
    for model in models:
        model.load()
    ModelServer().start(models)


if __name__ == "__main__":
    main()
