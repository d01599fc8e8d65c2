"""What a body may not do: name another model behind our back, or command more than an inference.

A body without the word is read no further than a search goes, so that opening a large set stays cheap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.protobuf_fields import fields, infer_request

_SHARED_MEMORY = "shared_memory"
"""Begins the parameters (``shared_memory_region`` …) by which Triton reads inputs from a region that somebody has
registered, and writes outputs into one: into memory that at replay is another client's."""

_ESCAPED = re.compile(rb"\\u00[2-7]")
"""An ASCII character that JSON spells otherwise."""


def check_message(body: bytes, _headers: Mapping[str, str]) -> None:
    """Refuse a ``ModelInferRequest`` that names shared memory, is cut off or malformed."""
    for _ in fields(body):
        pass
    if _SHARED_MEMORY.encode() in body:
        _refuse(_message_parameters(body))


def check_parameters(body: bytes, headers: Mapping[str, str]) -> None:
    """Refuse v2 JSON, with or without raw tensors behind it, that names shared memory."""
    if _SHARED_MEMORY.encode() in body or _ESCAPED.search(body):
        declared = headers.get("inference-header-content-length", "")
        length = int(declared) if declared.isascii() and declared.isdigit() else len(body)
        _refuse(_json_keys(body[:length]))


def _refuse(names: Iterable[str]) -> None:
    if found := next((name for name in names if name.startswith(_SHARED_MEMORY)), None):
        raise SampleError(f"parameter {found!r} reaches into shared memory of the server, which a warm-up must not")


def _message_parameters(body: bytes) -> list[str]:
    request = infer_request(body)
    return [name for part in (request, *request.inputs, *request.outputs) for name in part.parameters]


def _json_keys(text: bytes) -> list[str]:
    """Return the keys of all objects, those too that a later one of the same name hides: servers differ there."""
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys.extend(key for key, _ in pairs)

    try:
        json.loads(text.decode("latin-1"), object_pairs_hook=note, strict=False)
    except (ValueError, RecursionError):
        raise SampleError("the body is not JSON, and has the words of a parameter for shared memory in it") from None
    return keys
