"""Bodies that are not JSON at all, on a v1 endpoint: images, Avro, CSV, text; their content type says what they are.

KServe hands such a body to ``predict`` as bytes (``DataPlane.decode``, dataplane.py:352 of 0.21), unless its content
type is JSON's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import Body
from kserve_warmup.protocols.edits import Edit, UncoveredError
from kserve_warmup.protocols.sizes import size_class
from kserve_warmup.samples.sample import Signature, TensorSpec

UNTOLD = (
    'no content type tells what it is: write {"path": …, "headers": {"content-type": …}, "body_b64": …}, one a line'
)
"""What is missing of a body that is not JSON."""


class RawBody(Body):
    """Bytes of a declared type."""

    protocol = "raw"
    document: dict[str, Any]

    def __init__(self, raw: bytes, recorded: Mapping[str, str]) -> None:
        """Take the body as it is."""
        super().__init__(raw, recorded)
        self.document = {}

    @classmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> RawBody:
        """Return the body that ``raw`` is, if its content type says that it is something else than JSON.

        Raises:
            SampleError: it has no content type, or JSON's: a server would refuse it.
        """
        kind = media_type(headers)
        if not kind:
            raise SampleError(f"the body ({len(raw)} bytes) is not JSON, and {UNTOLD}")
        if is_json(kind):
            raise SampleError(f"the body ({len(raw)} bytes) is not JSON, although its content type is {kind}")
        return cls(raw, headers)

    def signature(self) -> tuple[Signature, int]:
        """Return a pseudo-signature: one input, called after the media type and as large as the body, in steps."""
        spec = TensorSpec(media_type(self.headers), "BYTES", (size_class(len(self.raw)),))
        return Signature((spec,), batched=False), 1

    def edit(self, rules: Sequence[Edit], applied: list[int], *, strict: bool) -> tuple[bytes, dict[str, str]]:  # noqa: ARG002
        if strict:
            kind = media_type(self.headers)
            raise UncoveredError(f"scrub strict: a body of {kind} cannot be looked into: leave such requests out")
        return self.raw, self.headers

    def written(self) -> tuple[bytes, dict[str, str]]:
        return self.raw, self.headers


def media_type(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters, in lower case; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Return whether a media type is that of JSON."""
    return kind in ("application/json", "text/json") or kind.endswith("+json")
