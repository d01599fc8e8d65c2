"""Whether anything of this process is on its way to ready."""

from __future__ import annotations

from kserve_warmup.serving.lifecycle import lifecycle_of
from kserve_warmup.serving.process import PROCESS
from kserve_warmup.serving.state import UNDER_WAY


def is_settled(name: str | None) -> bool:
    """Return whether no model of a name, None: no model at all, is being loaded or warmed in this process.

    What compiles while one is may be its own.
    """
    models = [model for model in list(PROCESS.models.values()) if name in (None, model.name)]
    return all(lifecycle_of(model).state.phase not in UNDER_WAY for model in models)
