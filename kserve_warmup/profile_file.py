"""What starts of models learned, as a file: the profiles of each model by path and stratum, and what they hold for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from kserve_warmup.errors import ProfileError, WarmupError
from kserve_warmup.files import write_whole
from kserve_warmup.profile import Profile
from kserve_warmup.report import StratumKey
from kserve_warmup.saved import parsed

PROFILE_FILE = "profile.json"
"""Its name in a sample set and among what was baked."""

MOST_BYTES = 16 << 20
_SCHEMA = 1
_MOST_TEXT = 1 << 18
_STRATUM = ("protocol", "signature", "variant", "batch")

Profiles = Mapping[str, Mapping[StratumKey, Profile]]
"""By path, such as ``rest``, and by stratum."""


@dataclass(frozen=True, slots=True)
class ProfileKey:
    """What profiles hold for; each a digest, or empty if it is not known.

    Attributes:
        code: The model's source files.
        packages: Which packages are installed, in which versions.
        machine: Processor, cores, memory limits and accelerators.
        samples: The requests that it is warmed with.
    """

    code: str = ""
    packages: str = ""
    machine: str = ""
    samples: str = ""

    def differs(self, other: ProfileKey) -> tuple[str, ...]:
        """Return the names of the parts that are others."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """What starts of one model learned, all under the same key."""

    key: ProfileKey
    paths: Profiles

    @property
    def runs(self) -> int:
        """Return how many starts were learned from; a stratum that was not always steady has fewer."""
        return max((len(p.runs) for strata in self.paths.values() for p in strata.values()), default=0)

    def joined(self, newer: LearnedModel) -> LearnedModel:
        """Return what this and a newer start learned; what was learned under another key counts no more."""
        if self.key.differs(newer.key):
            return newer
        paths = {path: dict(strata) for path, strata in self.paths.items()}
        for path, strata in newer.paths.items():
            ours = paths.setdefault(path, {})
            for key, profile in strata.items():
                ours[key] = ours[key].joined(profile) if key in ours else profile
        return LearnedModel(self.key, paths)


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """What starts learned of models, by name."""

    models: Mapping[str, LearnedModel] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path) -> ProfileFile:
        """Read a file.

        Raises:
            OSError: it cannot be read.
            ProfileError: it is too large, or holds something else; the message is one line.
        """
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ProfileError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return cls.from_json(data)

    def to_json(self) -> bytes:
        """Return it as a JSON document."""
        models = {
            name: {"key": asdict(model.key), "paths": {p: _strata(s) for p, s in model.paths.items()}}
            for name, model in self.models.items()
        }
        return orjson.dumps({"schema": _SCHEMA, "profiles": models}, option=orjson.OPT_INDENT_2) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> ProfileFile:
        """Read what :meth:`to_json` gave.

        Raises:
            ProfileError: it is something else.
        """
        try:
            content = parsed(data)
            return cls({_text(name): _model(model) for name, model in _profiles(content).items()})
        except ProfileError:
            raise
        except WarmupError as error:
            raise ProfileError(str(error)) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProfileError(f"it is no file of profiles: {type(error).__name__}") from None


def add_to_file(file: Path, name: str, learned: LearnedModel) -> None:
    """Put what a start learned into a file, beside what others learned; one that cannot be used is replaced.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with _alone(file.parent):
        try:
            models = dict(ProfileFile.open(file).models)
        except (FileNotFoundError, ProfileError):
            models = {}
        models[name] = models[name].joined(learned) if name in models else learned
        write_whole(file, ProfileFile(models).to_json())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from the folder's profiles meanwhile: workers of one server become ready together."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _strata(strata: Mapping[StratumKey, Profile]) -> list[dict[str, Any]]:
    return [
        dict(zip(_STRATUM, key, strict=True)) | {"profile": orjson.loads(profile.to_json())}
        for key, profile in strata.items()
    ]


def _profiles(content: Any) -> Any:
    if content.keys() != {"schema", "profiles"} or content["schema"] != _SCHEMA:
        raise ProfileError("it is no file of profiles that this version reads")
    return content["profiles"]


def _model(data: Any) -> LearnedModel:
    names = {f.name for f in fields(ProfileKey)}
    if data.keys() != {"key", "paths"} or data["key"].keys() != names:
        raise ProfileError("a model in it has no key and paths")
    key = ProfileKey(**{name: _text(value) for name, value in data["key"].items()})
    return LearnedModel(key, {_text(path): dict(map(_profile, strata)) for path, strata in data["paths"].items()})


def _profile(data: Any) -> tuple[StratumKey, Profile]:
    protocol, signature, variant, batch = (data[name] for name in _STRATUM)
    if type(batch) is not int or batch < 0:
        raise ProfileError("a batch size in it is no number")
    profile = Profile.from_json(orjson.dumps(data["profile"]))
    return (_text(protocol), _text(signature), _text(variant), batch), profile


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise ProfileError("a name in it is no text, or a long one")
    return value
