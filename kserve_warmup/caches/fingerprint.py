"""What a baked folder was made with and for, and each of its files: compared before anything of it is used.

A difference of the machine or of Python refuses every cache, that of a package the caches of its framework alone. That
of code, samples, processor model or driver is only said: frameworks compare the code that they have compiled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from kserve_warmup.errors import WarmupError

SCHEMA = 1
MOST_BYTES = 32 << 20
"""Of a fingerprint's file."""

MOST_FILES = 100_000
FINGERPRINT = "fingerprint.json"
CACHES, PROFILE = "caches", "profile.json"

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "numba": ("numba", "llvmlite", "numpy"),
    "jax": ("jax", "jaxlib"),
    "inductor": ("torch", "triton"),
    "triton-language": ("triton", "torch"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
}
"""By the folder below ``caches/``: the distributions whose version must be the same for it to be used."""


class FingerprintError(WarmupError):
    """A fingerprint cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One file as it was baked: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All that is compared. An empty text means that there is none, or that it is not known.

    Attributes:
        arch: Of the processor, such as ``x86_64``.
        processor: Its model, as the kernel names it.
        flags: What it can do, sorted.
        gpu: Name and compute capability of each kind of GPU; ``driver`` is NVIDIA's.
        python: Implementation, version and what its ABI is called.
        packages: Versions of the distributions in :data:`PACKAGES` that are installed.
        code: SHA-256 of the project's sources; ``samples`` that of the sample set's manifests.
        compiled: Programs that each framework compiled although the caches were there, as no cache keeps them.
        files: Seals by path below the baked folder, with slashes.
    """

    arch: str
    processor: str
    flags: tuple[str, ...]
    gpu: str
    driver: str
    python: str
    packages: Mapping[str, str]
    code: str = ""
    samples: str = ""
    compiled: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Seal] = field(default_factory=dict)

    def refusing(self, here: Fingerprint) -> tuple[str, ...]:
        """Return the differences for which no cache of this one can be used ``here``, each in words."""
        found = [*_differs("architecture", self.arch, here.arch), *_differs("Python", self.python, here.python)]
        if self.gpu:
            found += _differs("GPU", self.gpu, here.gpu)
        if missing := sorted(set(self.flags) - set(here.flags)):
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""  # noqa: PLR2004  a line
            found.append(
                f"processor flags: {', '.join(missing[:5])}{more} {'is' if len(missing) == 1 else 'are'} missing here"
            )
        return tuple(found)

    def refusing_parts(self, here: Fingerprint) -> dict[str, str]:
        """Return by folder below ``caches/`` why that one cannot be used ``here``."""
        found = {}
        for part, names in PACKAGES.items():
            lines = [
                line for n in names for line in _differs(n, self.packages.get(n, "none"), here.packages.get(n, "none"))
            ]
            if lines:
                found[part] = "; ".join(lines)
        return found

    def only_said(self, here: Fingerprint) -> tuple[str, ...]:
        """Return the differences that refuse nothing."""
        found = [*_differs("processor", self.processor, here.processor), *_differs("driver", self.driver, here.driver)]
        if extra := sorted(set(here.flags) - set(self.flags)):
            found.append(f"processor flags: {', '.join(extra[:5])} not there when it was baked")
        if self.code and here.code and self.code != here.code:
            found.append("code: it has changed since it was baked")
        if self.samples and here.samples and self.samples != here.samples:
            found.append("sample set: it is another one than was baked with")
        return tuple(found)

    def differences(self, other: Fingerprint) -> tuple[str, ...]:
        """Return all in which ``other``, that of the process which asks, differs; files aside."""
        return (*self.refusing(other), *self.refusing_parts(other).values(), *self.only_said(other))

    def to_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps({"schema": SCHEMA} | asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Fingerprint:
        """Read what :meth:`to_json` wrote.

        Raises:
            FingerprintError: It is something else, or too large.
        """
        if len(text) > MOST_BYTES:
            raise FingerprintError(f"it has more than {MOST_BYTES} bytes")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise FingerprintError("it is not JSON") from None
        return _checked(data)


def read_fingerprint(folder: Path) -> Fingerprint:
    """Return the fingerprint of a baked folder.

    Raises:
        FingerprintError: There is none that can be read; says why.
    """
    file = folder / FINGERPRINT
    try:
        with file.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise FingerprintError(f"{file}: {error.strerror}") from None
    try:
        return Fingerprint.from_json(text)
    except FingerprintError as error:
        raise FingerprintError(f"{file}: {error}: bake anew") from None


def _differs(what: str, baked: str, here: str) -> list[str]:
    return [] if baked == here else [f"{what}: baked with {baked or 'none'}, here is {here or 'none'}"]


_SHA256 = re.compile(r"[0-9a-f]{64}")


def _checked(data: Any) -> Fingerprint:
    """Return the fingerprint that JSON stands for; each value is what it has to be, and no path leaves the folder."""
    texts = ("arch", "processor", "gpu", "driver", "python", "code", "samples")
    wanted = {"schema", "flags", "packages", "compiled", "files", *texts}
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise FingerprintError(f"it is no fingerprint of schema {SCHEMA}")
    if data.keys() != wanted:
        raise FingerprintError(f"{', '.join(sorted(map(str, data.keys() ^ wanted))[:3])}: missing, or unknown")
    flags, packages, compiled, files = (data[name] for name in ("flags", "packages", "compiled", "files"))
    sound = (
        all(isinstance(data[name], str) for name in texts)
        and isinstance(flags, list)
        and all(isinstance(flag, str) for flag in flags)
        and all(isinstance(mapping, dict) for mapping in (packages, compiled, files))
        and all(isinstance(value, str) for value in packages.values())
        and all(type(value) is int and value >= 0 for value in compiled.values())
        and len(files) <= MOST_FILES
    )
    if not sound:
        raise FingerprintError("a value is not of its kind")
    sealed = {path: _seal(path, value) for path, value in files.items()}
    return Fingerprint(
        **{name: data[name] for name in texts},
        flags=tuple(flags),
        packages=packages,
        compiled=compiled,
        files=sealed,
    )


def _seal(path: str, value: Any) -> Seal:
    pure = PurePosixPath(path)
    below = path == PROFILE or (len(pure.parts) > 1 and pure.parts[0] == CACHES)
    if not below or ".." in pure.parts or str(pure) != path or "\0" in path:
        raise FingerprintError(f"{path[:80]!r} is no file of a baked folder")
    if not isinstance(value, dict) or value.keys() != {"size", "sha256"}:
        raise FingerprintError(f"{path[:80]!r} has no seal")
    size, digest = value["size"], value["sha256"]
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise FingerprintError(f"{path[:80]!r} has a seal that is none")
    return Seal(size, digest)
