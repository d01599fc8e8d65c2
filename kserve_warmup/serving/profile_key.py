"""What a model's latencies depend on, in a few digests: a profile that was learned elsewhere is a hint and no more."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from kserve import Model

from kserve_warmup.profile_file import ProfileKey
from kserve_warmup.samples import Sample

_NOT_THEIR_OWN = ("kserve", "kserve_warmup", "builtins", "abc", "typing")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_PROCESSOR = Path("/proc/cpuinfo")
_ACCELERATORS = Path("/proc/driver/nvidia/gpus")
_ABOUT_PROCESSOR = ("model name", "flags", "cpu part", "features")


def profile_key(model: Model, samples: Iterable[Sample]) -> ProfileKey:
    """Return what profiles of ``model`` hold for, in this process; nothing is imported or started for it."""
    return ProfileKey(
        code=_digest(_sources(model)),
        packages=_digest(sorted({*_packages(), platform.python_version()})),
        machine=_digest(_machine()),
        samples=_digest(sorted(sample.id for sample in samples)),
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sources(model: Model) -> Iterable[str]:
    """Yield the digests of the files that the model's class and those above it come from, KServe's and ours aside."""
    for name in dict.fromkeys(cls.__module__ for cls in type(model).__mro__):
        if name.partition(".")[0] not in _NOT_THEIR_OWN:
            with contextlib.suppress(OSError, TypeError):
                source = inspect.getsourcefile(sys.modules[name])
                yield hashlib.sha256(Path(str(source)).read_bytes()).hexdigest()


def _packages() -> Iterable[str]:
    """Yield names and versions of what is installed, as the folders of their metadata are called."""
    for place in sys.path:
        with contextlib.suppress(OSError):
            yield from (p.name for p in Path(place or ".").iterdir() if p.suffix in (".dist-info", ".egg-info"))


def _machine() -> Iterable[str]:
    yield platform.machine()
    yield str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    with contextlib.suppress(OSError):
        yield _QUOTA.read_text().strip()
    with contextlib.suppress(OSError):
        first = _PROCESSOR.read_text(errors="replace").partition("\n\n")[0].splitlines()
        yield from (line for line in first if line.partition(":")[0].strip().lower() in _ABOUT_PROCESSOR)
    with contextlib.suppress(OSError):
        for card in sorted(_ACCELERATORS.iterdir()):
            about = (card / "information").read_text(errors="replace").splitlines()
            yield from (line for line in about if line.startswith("Model"))
