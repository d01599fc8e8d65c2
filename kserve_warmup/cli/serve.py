"""``kserve-warmup serve``: a KServe server for a WarmupModel, the entry point of a standard image."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer

from kserve_warmup.errors import WarmupError, WarmupFailedError


def run(
    target: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="The model: a class, or an instance of one.")],
    model_name: Annotated[
        str | None,
        typer.Option("--model_name", "--model-name", help="Name on the endpoint's path. Default: the class's."),
    ] = None,
) -> None:
    """Load, warm and serve a model. KServe's own options (--http_port, --grpc_port, --workers …) work as always."""
    from kserve_warmup.caches import baked

    baked.begin()
    import kserve

    here = os.getcwd()  # noqa: PTH109  as python -m does
    sys.path.insert(0, here)
    try:
        server = kserve.ModelServer()  # before the model: it sets the log up that the load and the warm-up write to
        model = _model(target, model_name)
        if not model.ready and not model.load():
            raise WarmupFailedError(f"{target}: load() did not make the model ready: return True, or set self.ready")
        server.start([model])
    finally:
        sys.path.remove(here)


def _model(target: str, name: str | None) -> Any:
    """Import ``target`` and make the model."""
    from kserve_warmup.warmable import Warmable

    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise WarmupError(f"{target!r} names no class: write MODULE:CLASS, such as predictor:Digits")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0] and error.name != module_name:
            raise  # the module is there, and something that it imports is not
        raise WarmupError(f"no module {module_name!r} in {os.getcwd()} or on PYTHONPATH") from error  # noqa: PTH109
    except AttributeError as error:
        raise WarmupError(f"module {module_name!r} has no {attribute!r}") from error
    if isinstance(found, Warmable):
        return found
    if not (isinstance(found, type) and issubclass(found, Warmable)):
        raise WarmupError(
            f"{target} is not a WarmupModel: derive it from kserve_warmup.WarmupModel or WarmupOpenAIModel"
        )
    return found(name or attribute.lower())
