"""OpenAI-style bodies: passed through as they are, with a signature that tells apart what takes different time."""

from __future__ import annotations

from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Signature, TensorSpec

PATHS = {
    "chat": "/openai/v1/chat/completions",
    "rerank": "/openai/v1/rerank",
    "completion": "/openai/v1/completions",
    "embedding": "/openai/v1/embeddings",
}
"""Where KServe's OpenAI endpoints answer each kind of request."""

_FIELDS = {"messages": "chat", "documents": "rerank", "prompt": "completion", "input": "embedding"}


def kind_of(document: dict[str, Any]) -> str | None:
    """Return which of :data:`PATHS`' kinds a request is; None when it is no OpenAI request."""
    return next((kind for field, kind in _FIELDS.items() if field in document), None)


def signature(document: dict[str, Any]) -> tuple[Signature, int, str]:
    """Return a pseudo-signature, the number of prompts and the default path.

    The signature's one input is named after the kind of request (``+stream`` when it is streamed, another path through
    the server); its shape is the longest prompt's length, in characters or tokens, rounded up to a power of two. Its
    rows are the prompts, of which a chat has one.
    """
    kind = kind_of(document)
    if kind is None:
        raise SampleError(f"an OpenAI body has one of {', '.join(_FIELDS)}: this one has none")
    prompts = _prompts(document, kind)
    name = f"{kind}+stream" if document.get("stream") is True else kind
    spec = TensorSpec(name, "BYTES", (_bucket(max(map(_length, prompts), default=0)),))
    return Signature((spec,)), max(1, len(prompts)), PATHS[kind]


def _prompts(document: dict[str, Any], kind: str) -> list[Any]:
    value = document[next(field for field, of in _FIELDS.items() if of == kind)]
    if kind == "chat" or not isinstance(value, list):
        return [value]
    tokens = bool(value) and all(isinstance(item, int) for item in value)
    return [value] if tokens else value


def _length(value: Any) -> int:
    """Return the characters of all text in ``value``; a number counts as one token."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_length(item) for key, item in value.items() if key not in ("role", "type", "name"))
    if isinstance(value, list):
        return sum(map(_length, value))
    return 1 if isinstance(value, int) else 0


def _bucket(length: int) -> int:
    return 1 << max(0, length - 1).bit_length()
