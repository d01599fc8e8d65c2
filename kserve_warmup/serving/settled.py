"""Whether anything of this process is on its way to ready."""

from __future__ import annotations

from kserve_warmup.serving.lifecycle import lifecycle_of
from kserve_warmup.serving.process import PROCESS
from kserve_warmup.serving.state import UNDER_WAY


def nothing_is_loading() -> bool:
    """Return whether no model of this process is being loaded or warmed: then what compiles is none of theirs."""
    return all(lifecycle_of(model).state.phase not in UNDER_WAY for model in list(PROCESS.models.values()))
