"""Triton's ``ModelConfig`` message, without the rest of tritonclient."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.triton._tokens import blank_comments

ModelConfig = Any
"""A ``inference.ModelConfig``; protobuf's classes are made while running, which mypy cannot see."""

_MODULE = "kserve_warmup_triton_model_config_pb2"


@cache
def pb2() -> ModuleType:
    """Return tritonclient's ``model_config_pb2``, loaded from its file.

    Importing it by its name would run ``tritonclient.grpc``, whose service messages have the names of KServe's own:
    protobuf refuses two in one process. The file alone clashes with neither, and needs no grpc.
    """
    package = importlib.util.find_spec("tritonclient")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        file = Path(folder) / "grpc" / "model_config_pb2.py"
        spec = importlib.util.spec_from_file_location(_MODULE, file)
        if file.is_file() and spec and spec.loader:
            module = importlib.util.module_from_spec(spec)
            sys.modules[_MODULE] = module
            spec.loader.exec_module(module)
            return module
    msg = "tritonclient has no model_config_pb2: install tritonclient[grpc]"
    raise WarmupError(msg)


def new_config() -> ModelConfig:
    """Return an empty ``ModelConfig``."""
    return pb2().ModelConfig()


@lru_cache(maxsize=8)
def parse(text: bytes) -> ModelConfig:
    """Return the config that ``text`` holds; fields that this version of the message does not know are passed over.

    The message is shared between callers, since protobuf's parser is slow: copy it before you change it.

    Raises:
        TritonConfigError: It is no config, with the line where reading stopped.
    """
    from google.protobuf import text_format

    message = new_config()
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
