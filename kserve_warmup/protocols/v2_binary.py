"""Open Inference Protocol v2 over REST with the binary tensor data extension: JSON followed by raw tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import BINARY, JSON, LENGTH_HEADER
from kserve_warmup.protocols.edits import Edit, dumps
from kserve_warmup.protocols.json_body import json_object
from kserve_warmup.protocols.tensors import Tensor, from_raw, to_raw
from kserve_warmup.protocols.v2 import V2Body, from_json, head, written
from kserve_warmup.samples.sample import Signature

_LONG = 19
"""Digits of a number that no length has."""


class BinaryBody(V2Body):
    """Named inputs; the data of some of them, or of all, stands behind the JSON."""

    protocol = "v2-binary"

    def __init__(self, document: dict[str, Any], raw: bytes, recorded: Mapping[str, str], length: int) -> None:
        """Take the body, what its JSON says, and how many bytes that takes.

        Raises:
            SampleError: the JSON declares more or less binary data than there is.
        """
        super().__init__(document, raw, recorded)
        self._length = length
        if (total := sum(_binary_size(item) or 0 for item in self.inputs)) != (rest := len(raw) - length):
            raise SampleError(f"the inputs declare {total} bytes of binary data, but {rest} follow the JSON")

    @cached_property
    def headers(self) -> dict[str, str]:
        kept = dict(self.recorded)
        if kept.get("content-type", "").startswith(JSON):
            del kept["content-type"]  # KServe answers it with 400, so it was not sent like this: the logger's default
        return {"content-type": BINARY, LENGTH_HEADER: str(self._length), **kept}

    @cached_property
    def _data(self) -> dict[int, bytes | memoryview]:
        """Return the raw data of each input that has some, by the input's identity: a rule may drop one."""
        found: dict[int, bytes | memoryview] = {}
        position = self._length
        for item in self.inputs:
            if (size := _binary_size(item)) is not None:
                found[id(item)] = memoryview(self.raw)[position : position + size]
                position += size
        return found

    @classmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> BinaryBody:
        """Return the body that ``raw`` is.

        A lost :data:`LENGTH_HEADER` (KServe's logger keeps only headers that it was asked for) is recovered: the JSON
        ends where its object does, and the sizes it declares must add up to the rest.
        """
        declared = headers.get(LENGTH_HEADER)
        if declared is None:
            length = _json_length(raw)
        elif declared.isascii() and declared.isdigit() and len(declared) < _LONG and int(declared) <= len(raw):
            length = int(declared)
        else:
            raise SampleError(f"{LENGTH_HEADER} is {declared!r}, but the body has {len(raw)} bytes")
        return cls(json_object(memoryview(raw)[:length], "v2"), raw, headers, length)

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:
        raws = [to_raw(t) for t in tensors]
        items = [head(t) | {"parameters": {"binary_data_size": len(r)}} for t, r in zip(tensors, raws, strict=True)]
        start = written(items, request_id)
        return b"".join([start, *raws]), {"content-type": BINARY, LENGTH_HEADER: str(len(start))}

    def signature(self) -> tuple[Signature, int]:
        return self.declared()

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(map(self._tensor, self.inputs))

    def change(self, rule: Edit) -> int:
        places = super().change(rule)
        for item in self.document["inputs"]:
            if id(item) in self._data and rule.find is None and item["name"] == rule.input:
                data = to_raw(rule.changed(self._tensor(item)))
                self._data[id(item)], item["parameters"]["binary_data_size"] = data, len(data)
                self.covered.add(item["name"])
                places += 1
        return places

    def loose(self) -> Iterator[tuple[str, str]]:
        return ((item["name"], item["datatype"]) for item in self._kept())

    def written(self) -> tuple[bytes, dict[str, str]]:
        start = dumps(self.document)
        body = b"".join([start, *(self._data[id(item)] for item in self._kept())])
        return body, self.headers | {LENGTH_HEADER: str(len(start))}

    def _tensor(self, item: dict[str, Any]) -> Tensor:
        raw = self._data.get(id(item))
        return from_json(item) if raw is None else from_raw(item["name"], item["datatype"], item["shape"], raw)

    def _kept(self) -> list[dict[str, Any]]:
        return [item for item in self.document["inputs"] if id(item) in self._data]


def _json_length(body: bytes) -> int:
    try:
        # Latin-1 keeps one character a byte, so that the end of the object is a byte position.
        return json.JSONDecoder().raw_decode(body.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        raise SampleError(f"the body does not begin with JSON, and {LENGTH_HEADER} is missing") from None


def _binary_size(item: dict[str, Any]) -> int | None:
    """Return how many bytes behind the JSON belong to an input; None when its data is in the JSON."""
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise SampleError(f"input {item['name']!r}: binary_data_size is a number of bytes, not {size!r}")
    return size
