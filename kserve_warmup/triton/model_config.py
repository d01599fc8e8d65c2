"""Triton's ``ModelConfig`` messages from text."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf import text_format

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.triton._tokens import blank_comments


@lru_cache(maxsize=8)
def parse(text: bytes) -> ModelConfig:
    """Return the config that ``text`` holds; fields that this version of the message does not know are passed over.

    The message is shared between callers, since protobuf's parser is slow: copy it before you change it.

    Raises:
        TritonConfigError: It is no config, with the line where reading stopped.
    """
    message = ModelConfig()
    try:
        text_format.Parse(_readable(text), message, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise TritonConfigError(f"not a model configuration: {' '.join(str(error).split())}") from None
    return message


def _readable(text: bytes) -> str:
    """Return ``text`` for protobuf's parser, without comments, which may be in any encoding."""
    plain = blank_comments(text)
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")  # a string in another encoding; it is compared, never written
