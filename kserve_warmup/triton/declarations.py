"""What a server completes a configuration with, for one that leaves its inputs to the model ("auto-complete").

Asked of a server that runs the model, or of a disposable one that loads a copy of it, cold and alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.asking import asked
from kserve_warmup.triton.disposable import copies, started
from kserve_warmup.triton.releases import Release

SECONDS = 30.0


@dataclass(frozen=True)
class Declarations:
    """Where inputs are asked for: of the server at ``url``, or of a disposable one; nowhere by default."""

    url: str | None = None
    disposable: bool = False

    def of(self, name: str, folder: Path) -> ModelConfig | None:
        """Return a model's configuration as a server completes it, without warm-up; None if no server is asked.

        Raises:
            TritonConfigError: The server does not have the model, or does not load it.
            WarmupFailedError: There is no server.
        """
        if self.url is not None:
            return _running(self.url, name)
        return _loaded(name, folder) if self.disposable else None

    @property
    def release(self) -> Release | None:
        """Return what the server at ``url`` is; None if there is none, or it does not say."""
        if self.url is None:
            return None
        told = _ask(self.url, "/v2")
        return Release.read(str(told.get("version"))) if told.get("name") == "triton" else None


def _running(url: str, name: str) -> ModelConfig:
    config = ModelConfig()
    json_format.ParseDict(_ask(url, f"/v2/models/{url_name(name)}/config"), config, ignore_unknown_fields=True)
    config.ClearField("model_warmup")
    return config


def _ask(url: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = asked(url, "GET", path, None, seconds=SECONDS, refused=f"{url} refuses {path}: {{why}}")
    return found


def _loaded(name: str, folder: Path) -> ModelConfig:
    with copies(folder.parent, [folder.name]) as copy:
        config = copy / folder.name / files.CONFIG
        config.write_bytes(pbtxt.remove(config.read_bytes()))
        try:
            with started(copy, folder.name) as (server, problem):
                if problem is None:
                    return _running(server.http_url, folder.name)
        except WarmupError as error:
            problem = str(error)
    raise TritonConfigError(
        f"model {name}: config.pbtxt has no input, and the tritonserver on this machine does not tell: {problem}; "
        "--server URL asks one that runs the model, --no-prove-load --create goes by the samples"
    )
