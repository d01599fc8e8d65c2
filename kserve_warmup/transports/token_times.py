"""When the tokens of an answer came: read from its body, and from when which part of that arrived."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import orjson

from kserve_warmup.token_latency import TokenLatency
from kserve_warmup.transports.exchange import Answer

_LEAST = 2
"""Events that say something, between which there is a time."""


def of_stream(answer: Answer, started: float) -> TokenLatency:
    """Return the seconds from ``started`` to the first event that says something, and from one such to the next.

    Some servers open a stream before they have a token: with an event that only tells who speaks, or a comment. A
    stream in which nothing is said counts until its first byte.
    """
    arrived = [answer.pieces[at][1] for at in _pieces(answer)]
    if not arrived:
        return TokenLatency(answer.first_byte - started)
    each = (arrived[-1] - arrived[0]) / (len(arrived) - 1) if len(arrived) >= _LEAST else None
    return TokenLatency(arrived[0] - started, per_token=each)


def of_whole(answer: Answer, started: float) -> float:
    """Return the seconds from ``started`` to the answer's end, with its number of tokens where it tells that."""
    seconds = answer.end - started
    if b'"usage"' not in answer.body:
        return seconds
    document = _document(answer.body)
    usage = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(usage, dict):
        return seconds
    tokens = next((usage[name] for name in ("completion_tokens", "output_tokens") if name in usage), None)
    return TokenLatency(seconds, tokens=tokens) if type(tokens) is int and tokens > 0 else seconds


def _pieces(answer: Answer) -> list[int]:
    """Return for each event that says something the piece that it ended with, as far as that is known."""
    ends = [end for end, _ in answer.pieces]
    found, at = [], 0
    for line in answer.body.splitlines(keepends=True):
        at += len(line)
        if line.startswith(b"data:") and ends and at <= ends[-1] and _says_something(line[5:].strip()):
            found.append(bisect_left(ends, at))
    return found


def _says_something(data: bytes) -> bool:
    """Return whether an event carries a token: of chats, completions, responses, or of any protocol unknown."""
    if data == b"[DONE]":
        return False
    event = _document(data)
    if not isinstance(event, dict):
        return True
    if isinstance(choices := event.get("choices"), list):
        return any(_speaks(choice) for choice in choices if isinstance(choice, dict))
    kind = event.get("type")
    return kind.endswith(".delta") if isinstance(kind, str) else True


def _speaks(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return "text" in choice
    said = {name: value for name, value in delta.items() if value is not None and name != "role"}
    return any(said.values()) or (bool(said) and "role" not in delta)  # a token may be a part of a letter, and so empty


def _document(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
