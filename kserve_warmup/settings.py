"""What an operator may set: in the environment, prefixed ``KSERVE_WARMUP_``, or as arguments of the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WarmupSettings(BaseSettings):
    """How a model is warmed.

    Every field can be set in the environment: ``KSERVE_WARMUP_MAX_SECONDS=120``. An argument wins over the environment.
    """

    model_config = SettingsConfigDict(env_prefix="KSERVE_WARMUP_", extra="ignore", frozen=True)

    enabled: bool = Field(default=True, description="False serves cold, as if the package were not there.")
    samples: Path | None = Field(
        default=None,
        description="Folder of a sample set, or of one such folder per model name. "
        "Unset: 'warmup' beside the model's artifact, in /mnt/models.",
    )
    max_seconds: float = Field(default=60.0, gt=0, description="The whole warm-up of one model ends after this long.")
    max_calls: int = Field(
        default=1000, gt=0, description="Calls that one stratum may take before it counts as not steady."
    )
    request_timeout: float = Field(default=30.0, gt=0, description="Seconds after which one request counts as hung.")
    tolerance: float = Field(default=0.10, gt=0, lt=1, description="Steady means within this share of the plateau.")
    on_failure: Literal["fail", "serve"] = Field(
        default="fail", description="When every sample of a stratum fails: never get ready, or serve and warn loudly."
    )
    on_missing_samples: Literal["warn", "fail", "ignore"] = Field(
        default="warn", description="When there is no sample set and nothing to synthesise requests from."
    )
    report: Path | None = Field(default=None, description="Also write the warm-up report to this JSON file.")
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
