"""OpenAI-style bodies: passed through as they are, with a signature that tells apart what takes different time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.edits import Edit, Parts, Place
from kserve_warmup.protocols.json_body import JSONBody
from kserve_warmup.protocols.variant import Variant, openai_variant
from kserve_warmup.samples.sample import Signature, TensorSpec

_KINDS = {
    "messages": ("chat", "/openai/v1/chat/completions"),
    "documents": ("rerank", "/openai/v1/rerank"),
    "prompt": ("completion", "/openai/v1/completions"),
    "input": ("embedding", "/openai/v1/embeddings"),
    "text_1": ("score", "/score"),
}
"""Fields that tell what is asked, what it is, and where KServe's OpenAI endpoints answer it."""


class OpenAIBody(JSONBody):
    """A chat, a completion, texts to embed or to rank."""

    protocol = "openai"

    @classmethod
    def claims(cls, document: dict[str, Any]) -> bool:
        return any(field in document for field in _KINDS)

    @property
    def field(self) -> str:
        """Return the field that tells what is asked.

        Raises:
            SampleError: there is none.
        """
        found = next((field for field in _KINDS if field in self.document), None)
        if found is None:
            raise SampleError(f"an OpenAI body has one of {', '.join(_KINDS)}: this one has none")
        return found

    @property
    def path(self) -> str:
        return _KINDS[self.field][1]

    def variant(self) -> Variant:
        return openai_variant(self.document)

    def signature(self) -> tuple[Signature, int]:
        """Return a pseudo-signature and the number of prompts.

        The signature's one input is named after the kind of request; its shape is the longest prompt's length, in
        characters or tokens, rounded up to a power of two. Its rows are the prompts, of which a chat has one.
        """
        kind, _ = _KINDS[self.field]
        prompts = self._prompts()
        spec = TensorSpec(kind, "BYTES", (_bucket(max(map(_length, prompts), default=0)),))
        return Signature((spec,)), max(1, len(prompts))

    def _prompts(self) -> list[Any]:
        value = self.document[self.field]
        tokens = isinstance(value, list) and bool(value) and all(isinstance(item, int) for item in value)
        return value if isinstance(value, list) and not tokens and self.field != "messages" else [value]

    def places(self, rule: Edit) -> Iterator[Place]:
        if rule.input in self.document:
            yield self.document, rule.input, None

    def is_structural(self, parts: Parts) -> bool:
        return parts == ("model",) or (parts[0] == "messages" and parts[-1] in ("role", "type"))


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
