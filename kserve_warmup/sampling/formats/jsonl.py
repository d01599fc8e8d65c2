"""JSON lines: a request body on each line, or an envelope that keeps a request exactly.

An envelope is ``{"protocol": …, "path": …, "headers": {…}, "status": 200, "time": …, "body": "…"}``, or ``"body_b64"``
for a body that is not UTF-8; all but the body may be left out. ``time`` is in seconds since 1970; OpenAI's batch files
have ``url`` for the path. With the headers of a CloudEvent a response is passed over. This is also the format in which
kserve-warmup itself records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.inference_path import recorded
from kserve_warmup.protocols.json_body import NotJSONError, base64_text, json_bytes, json_value, unbase64
from kserve_warmup.samples.sample import PROTOCOLS, Sample, keep_headers, keep_path
from kserve_warmup.sampling.formats import cloudevents, kserve_logger, lines, seldon
from kserve_warmup.sampling.formats.encodings import plain
from kserve_warmup.sampling.formats.lines import split
from kserve_warmup.sampling.formats.long_text import long_record
from kserve_warmup.sampling.formats.record import Answer, BadRecord, Part, ReadOptions, Record, converted

__all__ = ["envelope", "line", "read", "sniff", "split", "write_jsonl"]


_BODY = re.compile(rb'"body"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether a file has JSON objects that have a line of their own; some lines may be broken."""
    lines = head.split(b"\n")
    return any(line.startswith(b"{") and _whole(line) for line in lines) or (len(lines) == 1 and _cut_off(head))


def _whole(line: bytes) -> bool:
    try:
        return isinstance(json_value(line), dict)
    except NotJSONError:
        return False


def _cut_off(line: bytes) -> bool:
    """Return whether a line begins an object that does not end in it, rather than having something behind its end."""
    try:
        json.JSONDecoder().raw_decode(line.decode("latin-1"))
    except (ValueError, RecursionError):
        return line.startswith(b"{")
    return False


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request of each line."""
    return converted(lines.read(part, options.max_line), _request, part.file, answers=options.answers)


def write_jsonl(stream: IO[bytes], samples: Iterable[Sample]) -> int:
    """Write samples as envelopes, one a line; return how many."""
    count = 0
    for count, sample in enumerate(samples, 1):  # noqa: B007
        stream.write(envelope(sample))
    return count


def envelope(sample: Sample) -> bytes:
    """Return the line, with its end, that keeps a sample's request exactly."""
    return line(Record("", 0, sample.body, sample.headers, sample.path, sample.protocol))


def line(record: Record) -> bytes:
    """Return the line, with its end, that keeps a record exactly; headers that are not allow-listed are left out.

    Raises:
        SampleError: its path or a header is none that a request can have.
    """
    kept: dict[str, Any] = {"headers": keep_headers(record.headers)}
    if record.protocol is not None:
        kept["protocol"] = record.protocol
    if record.path is not None:
        kept["path"] = keep_path(record.path, record.protocol)
    if record.status is not None:
        kept["status"] = record.status
    if record.time is not None:
        kept["time"] = record.time
    try:
        body = {"body": record.body.decode()}
    except UnicodeDecodeError:
        body = {"body_b64": base64_text(record.body)}
    return orjson.dumps(kept | body) + b"\n"


def _request(line: bytes, file: str, number: int, unit: str) -> Record | Answer | None:
    long = long_record(line, stop=len(line))
    if long is None and b'"body' not in line and line[:1] + line[-1:] == b"{}":
        return seldon.translated(Record(file, number, line, unit=unit))  # nothing but a body: others tell what it is
    record = long.fields if long else json_value(line, "")
    if kserve_logger.is_record(record):
        return kserve_logger.request(record, file, number, unit)
    made = _record(record, line, file, number, unit)
    return None if cloudevents.is_response(made.headers) else made


def _record(record: Any, line: bytes, file: str, number: int, unit: str) -> Record:
    if not isinstance(record, dict) or ("body" not in record and "body_b64" not in record):
        return Record(file, number, line, unit=unit)
    body, headers = _body(record, line), record.get("headers") or {}
    path, protocol = record.get("path", record.get("url")), record.get("protocol")
    if not isinstance(headers, dict) or not (path is None or isinstance(path, str)):
        msg = "an envelope's headers are an object and its path is a string"
        raise SampleError(msg)
    if protocol is not None and protocol not in PROTOCOLS:
        raise SampleError(f"unknown protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    if protocol is None and path is not None and (api := _api(path)) in ("v1", "openai"):
        protocol = api  # which take bodies of any form, those too that look like v2
    status, time = record.get("status"), record.get("time")
    if type(status) not in (int, type(None)) or type(time) not in (int, float, type(None)):
        msg = "an envelope's status is a number, and its time is seconds since 1970"
        raise SampleError(msg)
    return plain(Record(file, number, body, headers, path, protocol, status, time, unit))


def _api(path: str) -> str | None:
    try:
        return recorded(path).api
    except SampleError:
        return None  # whoever counts requests refuses it, with its place


def _body(record: dict[str, Any], line: bytes) -> bytes:
    problem = "an envelope's body is a string or JSON, and body_b64 is base64"
    if "body_b64" in record:
        return unbase64(record["body_b64"], problem)
    body = record["body"]
    try:
        return body.encode() if isinstance(body, str) else _as_written(body, line) or json_bytes(body)
    except (ValueError, TypeError):
        raise SampleError(problem) from None


def _as_written(body: Any, line: bytes) -> bytes | None:
    """Return the JSON of a body as it stands in the line, byte for byte; None where it is not the line's last field."""
    key = _BODY.search(line)
    text = line[key.end() : -1].strip() if key else b""
    try:
        return text if text and orjson.loads(text) == body else None
    except orjson.JSONDecodeError:
        return None
