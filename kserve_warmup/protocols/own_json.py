"""JSON of a model's own form, which KServe hands to ``predict`` as it is: what makes two such bodies alike.

Keys, kinds and sizes do. All numbers are of one kind: in JSON the same field is written ``10`` and ``10.5``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.nested import leaves_of, shape_of
from kserve_warmup.protocols.sizes import size_class
from kserve_warmup.samples.sample import RAGGED, UNTYPED, Signature, TensorSpec

WHOLE = "body"
"""What a body is called that has no keys."""

_DEEPEST = 3
_MOST_KEYS = 64
_REQUESTS = ("instances", "inputs", "messages", "prompt")
_ANSWERS = ("predictions", "explanations", "choices")
_KNOWN = (
    ({"bytes", "reqType"}, "one of KServe's logger (--format kserve-logger)"),
    ({"specversion", "type", "source"}, "a CloudEvent (--format cloudevents)"),
    ({"captureData"}, "SageMaker's captured data (--format sagemaker)"),
    ({"body"}, "an envelope"),
    ({"body_b64"}, "an envelope"),
)
_HOW = 'write {"path": "/v1/models/m:predict", "body": …}, one a line'


def own_signature(document: Any) -> tuple[Signature, int]:
    """Return the pseudo-signature and the number of rows of JSON of any form; only an array has more than one."""
    rows = len(document) if isinstance(document, list) and document else 0
    specs = [TensorSpec(name, *_kind(value)) for name, value in _fields(document)][:_MOST_KEYS]
    batched = rows > 0 and all(spec.shape for spec in specs)
    if batched:
        specs = [TensorSpec(spec.name, spec.datatype, spec.shape[1:]) for spec in specs]
    return Signature(tuple(sorted(specs)), batched), rows if batched else 1


def refuse_envelope(document: Any) -> None:
    """Refuse JSON of unknown origin that looks like something else than a request's body.

    Raises:
        SampleError: it is an array, which may be of requests; an answer; or a record that has a request inside.
    """
    if isinstance(document, list):
        raise SampleError(f"the record is a JSON array, which may be a request or hold several: {_HOW}")
    if not isinstance(document, dict):
        raise SampleError(
            f"the record is no request but a JSON {type(document).__name__}: a body is an object or array"
        )
    for keys, what in _KNOWN:
        if document.keys() >= keys:
            raise SampleError(f"the record looks like {what}, but is none that can be read")
    if found := next((key for key in _ANSWERS if key in document), None):
        raise SampleError(f"the record looks like an answer, with its key {found!r}, and not like a request")
    for key, value in document.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and any(isinstance(inner.get(name), (list, str)) for name in _REQUESTS):
            raise SampleError(
                f"the record has a request below its key {key!r}, in an envelope that is not known: {_HOW}"
            )


def _fields(document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, list):
        keys = document[0].keys() if document and isinstance(document[0], dict) else set()
        if keys and all(isinstance(row, dict) and row.keys() == keys for row in document):
            yield from ((name, [row[name] for row in document]) for name in document[0])
        else:
            yield WHOLE, document
    elif document:
        yield from _flat(document, "", 1)
    else:
        yield WHOLE, document


def _flat(document: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict) and value and depth < _DEEPEST:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        else:
            yield prefix + key, value


def _kind(value: Any) -> tuple[str, tuple[int, ...]]:
    """Return the datatype and the shape of a value: text by its size, numbers alike, all else as JSON."""
    shape, kinds = shape_of(value)
    if kinds <= {int, float}:
        return "FP64", shape
    if kinds == {bool}:
        return "BOOL", shape
    if kinds == {str}:
        longest = max(map(len, leaves_of(value)))
        return "BYTES", (*(RAGGED if size < 0 else size for size in shape), size_class(longest))
    return UNTYPED, shape[:1]
