"""TorchScript: named, and nothing to keep. Its executor specialises programs in the first calls of every process."""

from __future__ import annotations

import gc
import sys
from typing import Any

from kserve_warmup.caches.untold import UntoldCache


def _is_used() -> bool:
    """Return whether a scripted, traced or loaded program lives in this process: ``import torch`` brings the module."""
    torch: Any = sys.modules["torch"]
    programs = (torch.jit.ScriptModule, torch.jit.ScriptFunction)
    return any(issubclass(kind, programs) for kind in {type(thing) for thing in gc.get_objects()})


TORCHSCRIPT = UntoldCache(
    "TorchScript",
    "torch.jit",
    "specialises programs in the first calls of each process and keeps nothing on disk: every start warms them anew",
    _is_used,
)
