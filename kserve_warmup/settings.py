"""What an operator may set: in the environment, prefixed ``KSERVE_WARMUP_``, or as arguments of the same names."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kserve_warmup.errors import WarmupError
from kserve_warmup.request_headers import RequestHeaders, parse_headers
from kserve_warmup.tls_options import TlsOptions

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

PREFIX = "KSERVE_WARMUP_"

OTHER_VARIABLES = frozenset({"TRITON_ENV"})
"""Variables of ours that are no settings of a warm-up."""

ATTRIBUTE = "warmup_settings"
"""Of a model: its own settings."""

_TOLD: set[str] = set()

_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP|SCTP).*)?$")
"""What Kubernetes sets in every pod for a Service that is named like us."""


class SettingsError(WarmupError):
    """A setting has a value that it cannot have; the message names the variable."""


class WarmupSettings(BaseSettings):
    """How a model is warmed.

    Every field can be set in the environment: ``KSERVE_WARMUP_MAX_SECONDS=120``. An argument wins over the environment,
    and an empty variable is one that is not set.

    Raises:
        SettingsError: a value cannot be used; the message names the variable.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="False serves cold, as if the package were not there.")
    samples: Path | None = Field(
        default=None,
        description="Folder of a sample set, or of one such folder per model name. "
        "Unset: 'warmup' beside the model's artifact, in /mnt/models.",
    )
    max_seconds: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="The whole warm-up of one model ends after this long."
    )
    max_calls: int = Field(
        default=1000, gt=0, description="Calls that one stratum may take before it counts as not steady."
    )
    request_timeout: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds after which one request counts as hung. Unset: max_seconds.",
    )
    tolerance: float = Field(default=0.10, gt=0, lt=1, description="Steady means within this share of the plateau.")
    on_failure: Literal["fail", "serve"] = Field(
        default="fail", description="When every sample of a stratum fails: never get ready, or serve and warn loudly."
    )
    on_missing_samples: Literal["warn", "fail", "ignore"] = Field(
        default="warn",
        description="When there is no sample set and nothing to synthesise requests from, or the model refuses all.",
    )
    headers: Annotated[RequestHeaders, NoDecode, BeforeValidator(parse_headers)] = Field(
        default=RequestHeaders(),
        description="Headers that warm-up requests carry, never stored: a JSON object of names and values; "
        'a value may be {"file": "/path"}, with "scheme": "Bearer" before a bare token.',
    )
    cacert: Path | None = Field(
        default=None, description="For the gate: authorities of the server's certificate, in PEM, not the system's."
    )
    server_name: str | None = Field(
        default=None, description="For the gate: the name that the server's certificate has. Unset: the host asked for."
    )
    cert: Path | None = Field(default=None, description="For the gate: the certificate that it shows, in PEM.")
    key: Path | None = Field(default=None, description="For the gate: the key to cert. Unset: in the same file.")
    baked: Path | None = Field(
        default=None, description="What 'kserve-warmup bake' made for this start. Unset: /opt/warm, where it exists."
    )
    cache: Literal["use", "require", "off"] = Field(
        default="use",
        description="Baked compile caches: use what fits, end rather than compile what they should hold, or off.",
    )
    cache_trust: Literal["readonly", "writable"] = Field(
        default="readonly",
        description="Whether baked caches that this process, or others, can write are used all the same.",
    )
    report: Path | None = Field(default=None, description="Also write the warm-up report to this JSON file.")
    profile: Path | None = Field(
        default=None,
        description="File with what earlier starts learned. Unset: profile.json in the sample set, or among what was "
        "recorded.",
    )
    profile_write: Path | None = Field(
        default=None,
        description="Add what this start learns to this file; the first three starts judge all by themselves for it.",
    )
    capture_dir: Path | None = Field(
        default=None,
        description="Record the model's own requests in a folder per model name below this one. Without a sample set "
        "the next start warms with them.",
    )
    capture_rate: float = Field(default=0.1, gt=0, le=1, description="Share of the requests to record.")
    capture_max_mb: int = Field(
        default=64, ge=1, description="What one model's recorded requests may take on disk; the oldest go first."
    )
    capture_scrub: str | None = Field(
        default=None,
        description="What takes private content out before it is recorded: a file of rules, 'strict', or both with a "
        "comma between.",
    )

    monitor: bool = Field(
        default=True, description="After ready, tell and count what the warm-up missed: late compiles, unseen requests."
    )

    def __init__(self, **values: Any) -> None:
        """Read the environment; ``values`` win over it."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_explained(error, values)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass's field that is a misspelt one of ours."""
        super().__pydantic_init_subclass__(**kwargs)
        for name in cls.model_fields.keys() - WarmupSettings.model_fields.keys():
            if near := _nearest(name.lower(), WarmupSettings.model_fields, 0.85):
                raise SettingsError(f"{cls.__name__}.{name}: there is no such setting: did you mean {near}?")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:  # noqa: ARG002
        """Return a copy with other values, which are checked as those of a new one are."""
        return type(self)(**{**dict(self), **(update or {})})

    @property
    def patience(self) -> float:
        """Return the seconds after which one request counts as hung."""
        return self.max_seconds if self.request_timeout is None else self.request_timeout

    @property
    def tls(self) -> TlsOptions:
        """Return what a TLS connection to a server is made with."""
        return TlsOptions(self.cacert, self.server_name, self.cert, self.key)


def settings_of(model: Any) -> WarmupSettings:
    """Return what a model's ``warmup_settings`` say, or the environment.

    Raises:
        SettingsError: a value cannot be used, or settings were given under a name that nothing reads.
    """
    given = getattr(model, ATTRIBUTE, None)
    kind = type(model).__name__
    if given is None:
        of_classes = {name: value for cls in type(model).__mro__[::-1] for name, value in vars(cls).items()}
        for name, value in (of_classes | vars(model)).items():
            if isinstance(value, WarmupSettings) and _nearest(name.lower(), (ATTRIBUTE,), 0.8):
                raise SettingsError(f"{kind}.{name}: nothing reads it: did you mean {ATTRIBUTE}?")
        return WarmupSettings()
    if not isinstance(given, WarmupSettings):
        raise SettingsError(f"{kind}.{ATTRIBUTE}: it should be a WarmupSettings, not a {type(given).__name__}")
    return given


def warn_of_unknown_variables() -> None:
    """Name each variable of ours that does not exist, and the nearest one that does, once: a typo sets nothing."""
    known = {f"{PREFIX}{name.upper()}" for name in (*WarmupSettings.model_fields, *OTHER_VARIABLES)}
    for name in sorted(os.environ.keys() - _TOLD):
        upper = name.upper()
        if upper in known or _OF_A_SERVICE.search(name) or not upper.startswith("KSERVE"):
            continue
        near = _nearest(upper, known, 0.6 if upper.startswith(PREFIX) else 0.9)
        if near or upper.startswith(PREFIX):
            _TOLD.add(name)
            hint = f": did you mean {near}?" if near else ""
            logger.warning("the variable %s does not exist and sets nothing%s", name, hint)


def _nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=least)), None)


def _explained(error: ValidationError, values: dict[str, Any]) -> str:
    """Return the first thing that is wrong, in one line that names the variable, or the argument it came from."""
    problem = error.errors(include_url=False, include_context=True)[0]
    field = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        near = _nearest(field.lower(), WarmupSettings.model_fields)
        return f"{field}: there is no such setting{f': did you mean {near}?' if near else ''}"
    where = field if field in values else f"{PREFIX}{field.upper()}"
    given: JsonValue = problem["input"]
    found = "" if field == "headers" else f", not {str(given)[:80]!r}"  # headers hold secrets
    return " ".join(f"{where}: {_wanted(field, problem['msg'])}{found}".split())


def _wanted(field: str, message: str) -> str:
    if field in ("max_seconds", "request_timeout"):
        return "a number of seconds above 0, such as 60"
    if field in ("enabled", "monitor"):
        return "true or false"
    return message.removeprefix("Value error, ").replace("Input should be", "it should be")
