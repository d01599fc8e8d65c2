"""The proof of a bake for a server that counts nothing: what it writes to its private caches it had to compile anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kserve_warmup.caches import frameworks, shadow
from kserve_warmup.caches.bake_result import BakedStart
from kserve_warmup.caches.fingerprint import Fingerprint
from kserve_warmup.caches.sealed import private_copy
from kserve_warmup.errors import WarmupFailedError

Stamp = tuple[int, int, int]


def proof(start: Callable[[Mapping[str, str]], BakedStart], made: Path, fingerprint: Fingerprint) -> BakedStart:
    """Start the server once with a private copy of what was baked, as any later start does, and see what it adds.

    Args:
        start: Runs the server with these variables added, until it is warm.
        made: The folder that is being baked.
        fingerprint: Its own, files included.

    Raises:
        WarmupFailedError: It wrote as many files as there were: nothing was hit. Or the start itself failed.
    """
    private = private_copy(made, fingerprint, fingerprint, copied=True)
    try:
        if private.problems:
            raise WarmupFailedError(f"nothing was baked: {private.problems[0]}")
        before = _stamps(private.caches)
        done = start({**frameworks.variables(private.caches), "KSERVE_WARMUP_CACHE": "off"})
        written = sum(before.get(path) != stamp for path, stamp in _stamps(private.caches).items())
    finally:
        shadow.remove(private.caches.parent, os.getpid())
    if before and written >= len(before):
        what = f"{len(before)} files were kept, and a second start wrote {written} anew"
        raise WarmupFailedError(f"nothing was baked: nothing was hit: {what}")
    return replace(done, written=written)


def _stamps(caches: Path) -> dict[str, Stamp]:
    """Return what tells a file from one that was written anew, for each but locks."""
    found = {}
    for place, _, names in os.walk(caches):
        for file in (Path(place) / name for name in names if not name.endswith(".lock")):
            if not file.is_symlink() and file.is_file():
                status = file.stat()
                found[str(file)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
