"""What a gate has to do, checked and in plain data, which goes from one process into another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from kserve_warmup.replay import Limits
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders, parse_headers
from kserve_warmup.samples.sample import Sample, Signature, TensorSpec
from kserve_warmup.tls_options import SYSTEM, TlsOptions
from kserve_warmup.transports.endpoints import NO_PATHS, OwnPaths


@dataclass(frozen=True, slots=True)
class ModelSamples:
    """The samples of one model on the server."""

    model: str
    samples: tuple[Sample, ...]

    def __iter__(self) -> Iterator[Sample]:
        """Iterate the samples in descending weight."""
        return iter(self.samples)


@dataclass(frozen=True, slots=True)
class GateSettings(Limits):
    """Those of :class:`kserve_warmup.WarmupSettings` that a gate heeds; ``patience`` in seconds."""

    enabled: bool = True
    patience: float = 60.0
    on_failure: Literal["fail", "serve"] = "fail"
    on_missing_samples: Literal["warn", "fail", "ignore"] = "warn"
    headers: RequestHeaders = NO_HEADERS
    report: Path | None = None
    tls: TlsOptions = SYSTEM


@dataclass(frozen=True, slots=True)
class Plan:
    """The server to guard, where to answer (``host`` None: every address), and what to warm with.

    ``traffic``: whether the gate takes what KServe's inference logger sends; ``paths``: the server's own, if it has
    some; ``concurrency``: how many requests at once there are to be after single ones, None: as batchers need it.
    ``proxy``: the port for users, which it opens once the server is warm; None: they don't come through the gate.
    """

    url: str
    http_url: str | None
    grpc_address: str | None
    host: str | None
    port: int
    settings: GateSettings
    sets: tuple[ModelSamples, ...] = field(repr=False)
    traffic: bool = False
    paths: OwnPaths = NO_PATHS
    concurrency: tuple[int, ...] | None = None
    proxy: int | None = None

    def write(self, file: IO[bytes]) -> None:
        """Write one line of JSON, then all bodies."""
        bodies = [sample.body for samples in self.sets for sample in samples]
        file.write(orjson.dumps((self, [len(body) for body in bodies]), default=_plain) + b"\n")
        file.writelines(bodies)

    @classmethod
    def read(cls, file: IO[bytes]) -> Plan:
        """Return what :meth:`write` wrote."""
        found, sizes = orjson.loads(file.readline())
        bodies = (file.read(size) for size in sizes)
        settings = found["settings"]
        settings["headers"] = parse_headers(dict(settings["headers"]["given"]))
        settings["report"] = _path(settings["report"])
        tls = settings["tls"]
        settings["tls"] = TlsOptions(**tls | {name: _path(tls[name]) for name in ("cacert", "cert", "key")})
        sets = tuple(
            ModelSamples(s["model"], tuple(_sample(x, next(bodies)) for x in s["samples"])) for s in found["sets"]
        )
        made = {"settings": GateSettings(**settings), "sets": sets, "paths": OwnPaths(**found["paths"])}
        levels = found["concurrency"]
        return cls(**found | made | {"concurrency": None if levels is None else tuple(levels)})


def _path(written: dict[str, str] | None) -> Path | None:
    return Path(written["file"]) if written else None


def _plain(value: Any) -> Any:
    return {"file": str(value)} if isinstance(value, Path) else None  # a body stands behind the line


def _sample(found: dict[str, Any], body: bytes) -> Sample:
    given = found["signature"]
    inputs = tuple(TensorSpec(i["name"], i["datatype"], tuple(i["shape"])) for i in given["inputs"])
    variant = tuple((name, value) for name, value in found["variant"])
    return Sample(**found | {"body": body, "signature": Signature(inputs, given["batched"]), "variant": variant})
