"""Bake: one start learns, two more prove that they hit, and only then is the folder there, whole.

The proof takes the way of every later start: fingerprint, trust and the private folder, at another place than the
caches were written to. Only the trust is given beforehand, since what bakes owns what it has just made.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kserve_warmup.caches import outside
from kserve_warmup.caches.bake_result import BakedStart, BakeResult
from kserve_warmup.caches.fingerprint import CACHES, FINGERPRINT, PROFILE
from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.caches.frameworks import variables
from kserve_warmup.caches.this_machine import of_this_machine, seals
from kserve_warmup.errors import WarmupError, WarmupFailedError

PROOFS = 2


Start = Callable[[Mapping[str, str], Path], BakedStart]
"""Runs one fresh process with these variables added, until it is warm, its reports going below this folder."""


def bake(
    start: Start,
    out: Path,
    samples: Path,
    tell: Callable[[str], None] = lambda _: None,
    python: Path | None = None,
) -> BakeResult:
    """Fill ``out`` with what a start of the server learns, all or nothing.

    Args:
        start: runs the server once.
        out: the folder; one that an earlier bake made is replaced.
        samples: what the server is warmed with.
        tell: hears a line before each start.
        python: The Python that runs the models; None: this one.

    Raises:
        WarmupError: ``out`` is something else, or cannot be written.
        WarmupFailedError: a start was not warm, or the proof failed.
    """
    check_out(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise WarmupError(f"cannot write beside {out}: {error.strerror}") from None
    try:
        starts = _fill(start, made, samples, tell, python)
        sealed = seals(made)
        _make_read_only(made)
        _put_in_place(made, out)
    finally:
        if made.exists():
            remove_read_only(made)
    return BakeResult(str(out), starts, sum(s.size for s in sealed.values()), len(sealed), PROFILE in sealed)


def check_out(out: Path) -> None:
    """Refuse a folder that no bake made.

    Raises:
        WarmupError: there is something else.
    """
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not (out / FINGERPRINT).is_file()):
        raise WarmupError(f"--out {out}: it is there, and no bake made it: name another folder, or remove it")


def _fill(
    start: Start, made: Path, samples: Path, tell: Callable[[str], None], python: Path | None
) -> tuple[BakedStart, ...]:
    caches = made / CACHES
    caches.mkdir()
    tell(f"start 1 of {1 + PROOFS}: compiles, and is warmed until it is steady")
    with tempfile.TemporaryDirectory() as folder:
        # what it learns is thrown away, and so it is not helped by a profile that lies in the sample set
        learns = {"KSERVE_WARMUP_PROFILE_WRITE": str(Path(folder) / PROFILE)}
        first = start({"KSERVE_WARMUP_CACHE": "off", **learns, **variables(caches)}, Path(folder))
    _leave_out(caches)
    starts = [first]
    fingerprint = replace(of_this_machine(samples, python_program=python), files=seals(made))
    (made / FINGERPRINT).write_text(fingerprint.to_json())
    with tempfile.TemporaryDirectory() as learned:
        profile = Path(learned) / PROFILE
        use = {"KSERVE_WARMUP_BAKED": str(made), "KSERVE_WARMUP_CACHE": "use"}
        use |= {"KSERVE_WARMUP_CACHE_TRUST": "writable", "KSERVE_WARMUP_PROFILE_WRITE": str(profile)}
        for number in range(PROOFS):
            tell(f"start {number + 2} of {1 + PROOFS}: proves that it hits")
            with tempfile.TemporaryDirectory() as folder:
                if first.outside:
                    proof = outside.proof(lambda given: start(given, Path(folder)), made, fingerprint)
                else:
                    proof = start(use, Path(folder))
                    _check(first, proof, caches)
            starts.append(proof)
        if profile.is_file():
            shutil.copyfile(profile, made / PROFILE)
    compiled = {one.framework: one.compiled for one in starts[-1].cache if one.told and one.compiled}
    fingerprint = replace(fingerprint, compiled=compiled, files=seals(made))
    (made / FINGERPRINT).write_text(fingerprint.to_json())
    return tuple(starts)


def _check(first: BakedStart, proof: BakedStart, caches: Path) -> None:
    """Find out whether a later start hits.

    Raises:
        WarmupFailedError: it does not, although there is something to hit.
    """
    if proof.note:
        raise WarmupFailedError(f"nothing was baked: {proof.note}")
    later = {one.framework: one for one in proof.cache}
    names = {one.framework: folder_of(one.framework) for one in first.cache if one.told and one.compiled}
    for name, part in names.items():
        kept = part is not None and any(file.is_file() for file in (caches / part).rglob("*"))
        found = later.get(name, CacheCount(name))
        if kept and not found.hit:
            why = (
                f"{found.compiled} compiled, {found.rejected} of them rejected{f'; {found.note}' if found.note else ''}"
            )
            raise WarmupFailedError(f"nothing was baked: {name} keeps a cache, and a second start hit nothing: {why}")


def folder_of(framework: str) -> str | None:
    """Return the folder below ``caches/`` of a framework by its name, None if it has none."""
    from kserve_warmup.caches.frameworks import FRAMEWORKS

    root = Path("/")
    values = [one.variables(root).values() for one in FRAMEWORKS if one.name == framework]
    parts = [Path(value).parts[1] for found in values for value in found if value.startswith("/")]
    return parts[0] if parts else None


def _leave_out(caches: Path) -> None:
    """Remove what no later start needs: locks, links, and folders without files."""
    for path in sorted(caches.rglob("*"), reverse=True):
        if path.is_symlink() or path.name.endswith(".lock") or not (path.is_file() or path.is_dir()):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _make_read_only(made: Path) -> None:
    for place, _, files in os.walk(made, topdown=False):
        for name in files:
            file = Path(place) / name
            runs = stat.S_IMODE(file.stat().st_mode) & stat.S_IXUSR
            file.chmod(0o555 if runs else 0o444)
        Path(place).chmod(0o555)


def remove_read_only(made: Path) -> None:
    """Remove a folder whose parts may be read-only."""
    for place, _, _ in os.walk(made):
        Path(place).chmod(0o755)
    shutil.rmtree(made)


def _put_in_place(made: Path, out: Path) -> None:
    """Put the folder where it belongs; what an earlier bake made goes once this is there."""
    check_out(out)
    old = None
    try:
        if out.exists():
            old = out.with_name(f"{made.name}-old")
            out.rename(old)
        try:
            made.rename(out)
        except OSError:
            if old is not None:
                old.rename(out)
            raise
    except OSError as error:
        raise WarmupError(f"cannot put {out} in place: {error.strerror}") from None
    if old is not None:
        remove_read_only(old)
