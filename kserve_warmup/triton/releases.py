"""Which Triton releases load what: NVIDIA's containers are numbered by year and month, the server within by 2.N.

From 25.01 (2.54) on, core looks at the type of each request's correlation id (``ValidateCorrelationId``,
src/infer_request.cc, since January 2025), also of a warm-up's, which is the integer 0: a block for a model that takes
strings there fails the load. Earlier ones deliver what the block brings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.generated.model_config_pb2 import TYPE_STRING, ModelConfig, ModelSequenceBatching
from kserve_warmup.triton.model_calls import check_calls
from kserve_warmup.triton.model_config import parse

_CORRELATION_ID = ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID
_WRITTEN = re.compile(r"v?(\d{1,2})\.(\d{1,3})(?:\.\d+)?(?:[-.+a-z].*)?")
_FIRST_CONTAINER = 18


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A Triton release by its server's version, such as 2.54 for container 25.01."""

    major: int
    minor: int

    @classmethod
    def read(cls, text: str) -> Release:
        """Return the release of a container's tag (``25.01``, ``25.01-py3``) or a server's version (``2.54.0``).

        Raises:
            TritonConfigError: It is neither.
        """
        found = _WRITTEN.fullmatch(text.strip())
        major, minor = (int(found[1]), int(found[2])) if found else (0, 0)
        if major >= _FIRST_CONTAINER and 1 <= minor <= 12:  # noqa: PLR2004  (a month)
            return cls(2, 54 + 12 * (major - 25) + minor - 1)
        if major in (1, 2):
            return cls(major, minor)
        raise TritonConfigError(
            f"{text!r} is no Triton release: write a container's, such as 24.12, or a server's, 2.53.0"
        )


CHECKS_CORRELATION_IDS = Release(2, 54)


def check_loadable(folder: Path, text: bytes, loaded_first: tuple[str, ...], release: Release | None) -> None:
    """Refuse a model that no block can be proved harmless for, whatever its samples; quick where nothing is wrong.

    Args:
        folder: The model's folder.
        text: Its configuration.
        loaded_first: Models that are loaded before those that call them.
        release: The newest server that will load it; None if that is not known.

    Raises:
        TritonConfigError: The server might not start with a warm-up of this model.
    """
    if b"sequence_batching" in text:  # parsing takes milliseconds, and repositories have many models
        check_correlation_id(folder.name, parse(text), release)
    check_calls(folder, text, loaded_first)


def check_correlation_id(name: str, config: ModelConfig, release: Release | None) -> None:
    """Refuse a string correlation id, unless only servers will load it that deliver what a block brings.

    Raises:
        TritonConfigError: Triton would refuse the warm-up, and so the model.
    """
    if release is not None and release < CHECKS_CORRELATION_IDS:
        return
    for given in config.sequence_batching.control_input:
        if any(c.kind == _CORRELATION_ID and c.data_type == TYPE_STRING for c in given.control):
            raise TritonConfigError(
                f"model {name}: control input {given.name!r}: from 25.01 on Triton cannot warm a model whose "
                "correlation id is a string; warm it with requests instead, or, if only earlier ones load it, name "
                "the newest of them, such as --triton-version 24.12"
            )
