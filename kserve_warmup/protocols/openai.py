"""OpenAI-style bodies: passed through as they are, with a signature that tells apart what takes different time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.edits import Edit, Parts, Place
from kserve_warmup.protocols.json_body import JSONBody
from kserve_warmup.protocols.variant import Variant, openai_variant
from kserve_warmup.samples.sample import Signature, TensorSpec

PATHS = {
    "chat": "/openai/v1/chat/completions",
    "rerank": "/openai/v1/rerank",
    "completion": "/openai/v1/completions",
    "embedding": "/openai/v1/embeddings",
}
"""Where KServe's OpenAI endpoints answer each kind of request."""

_FIELDS = {"messages": "chat", "documents": "rerank", "prompt": "completion", "input": "embedding"}


class OpenAIBody(JSONBody):
    """A chat, a completion, texts to embed or to rank."""

    protocol = "openai"

    @classmethod
    def claims(cls, document: dict[str, Any]) -> bool:
        return any(field in document for field in _FIELDS)

    @property
    def kind(self) -> str:
        """Return which of :data:`PATHS`' kinds the request is.

        Raises:
            SampleError: it is none.
        """
        found = next((kind for field, kind in _FIELDS.items() if field in self.document), None)
        if found is None:
            raise SampleError(f"an OpenAI body has one of {', '.join(_FIELDS)}: this one has none")
        return found

    @property
    def path(self) -> str:
        """Return where KServe answers this kind of request."""
        return PATHS[self.kind]

    def variant(self) -> Variant:
        return openai_variant(self.document)

    def signature(self) -> tuple[Signature, int]:
        """Return a pseudo-signature and the number of prompts.

        The signature's one input is named after the kind of request; its shape is the longest prompt's length, in
        characters or tokens, rounded up to a power of two. Its rows are the prompts, of which a chat has one.
        """
        kind = self.kind
        prompts = _prompts(self.document, kind)
        spec = TensorSpec(kind, "BYTES", (_bucket(max(map(_length, prompts), default=0)),))
        return Signature((spec,)), max(1, len(prompts))

    def places(self, rule: Edit) -> Iterator[Place]:
        if rule.input in self.document:
            yield self.document, rule.input, None

    def is_structural(self, parts: Parts) -> bool:
        return parts == ("model",) or (parts[0] == "messages" and parts[-1] in ("role", "type"))


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
