"""Data sets of NVIDIA's AIPerf, JSON lines: single turns, conversations, traces, and recorded payloads.

A turn becomes a chat as AIPerf sends it, with the users' turns before it: what a model answered to these is not in the
file. A line with nothing but ``text`` may as well be a body of a model's own form, and is taken for that unless
``--format aiperf`` is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_bytes, json_value
from kserve_warmup.sampling.formats import lines
from kserve_warmup.sampling.formats.lines import split
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted

__all__ = ["read", "sniff", "split"]

_OWN = frozenset({"output_length", "input_length", "hash_ids", "turns", "delay", "session_id", "timestamp", "payload"})
_MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_TEXTS = ("text", "texts", "text_input", "messages", "turns", "payload", "input_length")
_ALL = frozenset({*_OWN, *_MEDIA, *_TEXTS, "type", "role", "extra", "tools", "priority", "model", "image_url"})
_LINE = re.compile(rb'\s*\{\s*"[a-z_]+"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether the first line has the fields of AIPerf and no others."""
    if not _LINE.match(head):
        return False
    try:
        document = json_value(head.lstrip().split(b"\n", 1)[0])
    except SampleError:
        return False
    keys = document.keys() if isinstance(document, dict) else set()
    return bool(keys & _OWN) and bool(keys & set(_TEXTS)) and keys <= _ALL


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each turn, and each payload."""
    for item in lines.read(part, options.max_line):
        if isinstance(item, BadRecord):
            yield item
            continue
        number, unit, line = item
        try:
            for body in _bodies(json_value(line, ""), options.model):
                yield Record(part.file, number, json_bytes(body), unit=unit)
        except SampleError as error:
            yield BadRecord(part.file, str(error), number, unit)


def _bodies(entry: Any, model: str | None) -> Iterator[dict[str, Any]]:
    if not isinstance(entry, dict):
        raise SampleError(f"a line of AIPerf's data is a JSON object, not {type(entry).__name__}")
    if isinstance(entry.get("payload"), dict):
        yield entry["payload"]
        return
    turns = entry.get("turns")
    history: list[dict[str, Any]] = []
    for turn in turns if isinstance(turns, list) else [entry]:
        if not isinstance(turn, dict):
            raise SampleError("a turn of AIPerf's data is a JSON object")
        messages = turn.get("messages")
        history = list(messages) if isinstance(messages, list) else [*history, _message(turn)]
        if turn.get("role") == "system":
            continue  # it goes before the next one, and is no request of its own
        length, extra, tools = turn.get("output_length"), turn.get("extra"), turn.get("tools")
        yield {
            **({"model": model} if model else {}),
            "messages": history,
            **({"max_tokens": length} if type(length) is int else {}),
            **({"tools": tools} if isinstance(tools, list) and tools else {}),
            **(extra if isinstance(extra, dict) else {}),
        }


def _message(turn: dict[str, Any]) -> dict[str, Any]:
    """Return what a turn says, as a message of a chat.

    Raises:
        SampleError: there is no text in it, or media that lie in files.
    """
    texts = turn.get("text", turn.get("text_input", turn.get("texts")))
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        content: Any = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]
    elif isinstance(texts, str):
        content = texts
    elif "input_length" in turn:
        msg = "the line has the length of a prompt and no text: sample AIPerf's inputs.json, which has what it sent"
        raise SampleError(msg)
    else:
        raise SampleError("the line has none of AIPerf's text, messages, turns and payload")
    if any(turn.get(key) for key in _MEDIA):
        msg = "the line has media, which AIPerf encodes when it sends: sample its inputs.json, which has what it sent"
        raise SampleError(msg)
    return {"role": str(turn.get("role") or "user"), "content": content}
