"""A Dockerfile as the rules look at it: its instructions, by stage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kserve_warmup.lint.findings import Position

_ESCAPE = re.compile(r"#\s*escape\s*=\s*`\s*$", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?\s*[\"']?(\w+)[\"']?")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continued lines joined; ``user`` is who RUN runs as, root unless USER said otherwise."""

    word: str
    rest: str
    position: Position
    stage: int
    user: str = "root"


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile, with the user that was set before each in its stage.

    https://docs.docker.com/reference/dockerfile: lines end in a backslash to go on, comment lines between them do not
    count, and a here-document belongs to its instruction.
    """
    stage, user = -1, "root"
    for joined, position in _joined(text):
        word, _, rest = joined.strip().partition(" ")
        word = word.upper()
        if word == "FROM":
            stage, user = stage + 1, "root"
        yield Instruction(word, rest.strip(), position, stage, user)
        if word == "USER":
            user = rest.strip().partition(":")[0]


def _joined(text: str) -> Iterator[tuple[str, Position]]:
    lines = text.splitlines()
    mark = "`" if lines and _ESCAPE.match(lines[0]) else "\\"
    parts: list[str] = []
    began, waiting = 0, ""
    for number, line in enumerate(lines, 1):
        if waiting:
            parts.append(line)
            waiting = "" if line.strip() == waiting else waiting
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        else:
            began = began or number
            going_on = line.rstrip().endswith(mark)
            parts.append(line.rstrip()[: -1 if going_on else None])
            heredoc = _HEREDOC.search(line)
            waiting = heredoc[1] if heredoc else ""
            if going_on and not waiting:
                continue
        if not waiting:
            yield "\n".join(parts).replace("\n", " "), Position(began, 1)
            parts, began = [], 0
    if parts:
        yield " ".join(parts), Position(began, 1)
