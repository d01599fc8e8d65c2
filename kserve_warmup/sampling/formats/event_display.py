"""Events as Knative's event-display prints them, which KServe's documentation has as the sink of its logger.

Each begins with a line ``☁️  cloudevents.Event``; attributes and data follow, indented by two spaces. It indents JSON
anew (event.go of CloudEvents' SDK for Go), so that is kept by its values; other data is kept as text. What a collector
of logs puts before each line, and other lines between events, are no harm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import NotJSONError, json_bytes, json_value
from kserve_warmup.sampling.formats import seldon
from kserve_warmup.sampling.formats.cloudevents import is_answer
from kserve_warmup.sampling.formats.record import (
    Answer,
    BadRecord,
    Part,
    ReadOptions,
    Record,
    converted,
    noted,
    seconds,
)
from kserve_warmup.sampling.formats.storage import opened

_BEGIN = re.compile(rb"(?P<before>[^\n]{0,300}?)(?:\xe2\x98\x81\S*\s*)?cloudevents\.Event\s*")
_FIRST = re.compile(rb"^(?:[^\n]{0,300}?\s)?(?:\xe2\x98\x81\S*\s*)?cloudevents\.Event[ \t]*\r?$", re.MULTILINE)
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\S{1,30} ")
_ATTRIBUTE = re.compile(rb"^[ \t]+([a-z0-9]+): (.*?)\r?$", re.MULTILINE)
_DATA = re.compile(rb"^Data(?: \(binary\))?,[ \t]*\r?\n", re.MULTILINE)


def sniff(head: bytes) -> bool:
    """Return whether a file has an event near its beginning, as event-display prints it."""
    return b"Context Attributes," in head and bool(_FIRST.search(head))


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests; responses are passed over."""
    events = ((number, "event", text) for number, text in enumerate(_events(part.file, options.max_line), 1))
    yield from converted(events, _request, part.file, answers=options.answers)


def _events(file: str, most: int) -> Iterator[bytes]:
    """Yield each event's text, holding only one at a time.

    Raises:
        SampleError: one is longer than ``most``.
    """
    held: list[bytes] | None = None
    size, before = 0, b""
    with opened(file) as stream:
        while line := stream.readline(most):
            if (match := _BEGIN.fullmatch(line)) and not line.startswith(b"  "):
                if held is not None:
                    yield b"".join(held)
                held, size, before = [], 0, match["before"]
            elif held is not None:
                held.append(_bare(line, before))
                size += len(line)
                if size > most:
                    raise SampleError(f"an event is longer than {most:,} bytes, which --max-body leaves room for")
    if held is not None:
        yield b"".join(held)


def _bare(line: bytes, before: bytes) -> bytes:
    """Return a line without what a collector of logs has put before it, as before the event's first line."""
    if before and line.startswith(before):
        return line[len(before) :]
    if stamp := _STAMP.match(line) if _STAMP.match(before) else None:
        return line[stamp.end() :]
    return line


def _request(text: bytes, file: str, number: int, unit: str) -> Record | Answer:
    match = _DATA.search(text)
    head, data = (text[: match.start()], text[match.end() :]) if match else (text, None)
    facts = {key.decode(): value.decode(errors="replace") for key, value in _ATTRIBUTE.findall(head)}
    kind, number_of_event = facts.get("type"), facts.get("id")
    if kind and is_answer(kind):
        return Answer(number_of_event or "")
    if data is None or not kind:
        raise SampleError("the event has no type, or no data")
    content_type = facts.get("datacontenttype", "application/json")
    body = _json(data) if "json" in content_type else data.strip(b"\r\n").removeprefix(b"  ")
    headers = {"content-type": content_type}
    record = Record(file, number, body, headers, time=seconds(facts.get("time")), unit=unit, id=number_of_event)
    return seldon.translated(record) if "seldon" in kind else record


def _json(text: bytes) -> bytes:
    """Return the JSON that was printed, on one line; lines of a log may stand behind it."""
    try:
        return json_bytes(json_value(text, "the event's data is "))
    except NotJSONError:
        try:
            return json_bytes(json.JSONDecoder().raw_decode(text.decode().lstrip())[0])
        except (ValueError, RecursionError):
            pass
        raise
