"""What a rule is, and what it finds."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kserve_warmup.errors import WarmupError
from kserve_warmup.printable import printable


class Severity(enum.IntEnum):
    """How bad a finding is; what is more severe is greater."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        """Return it in lower case, as it is written on the command line."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text; line and column count from 1, ``index`` is the number of characters before it."""

    line: int = 1
    column: int = 1
    index: int = 0


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters ``start`` to ``end`` of the text give way to ``text``; nothing else moves."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What a rule yields: where, what and how to mend it, and the edits that mend it where that is safe.

    ``severity`` is given where it is not the rule's own.
    """

    position: Position
    message: str
    edits: tuple[Edit, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with the rule and the file that it belongs to."""

    path: str
    position: Position
    severity: Severity
    rule: str
    message: str
    edits: tuple[Edit, ...] = ()

    @property
    def order(self) -> tuple[str, Position, str]:
        """Return what findings are sorted by."""
        return self.path, self.position, self.rule

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return {
            "path": self.path,
            "line": self.position.line,
            "column": self.position.column,
            "severity": str(self.severity),
            "rule": self.rule,
            "message": self.message,
            "fixable": bool(self.edits),
        }

    def __str__(self) -> str:
        """Return it in one line, as compilers do."""
        place = f"{self.path}:{self.position.line}:{self.position.column}"
        return printable(f"{place}: {self.severity}: {self.message} ({self.rule})")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known beside the files: the seconds from start to ready that were measured, longest last, and from where.

    ``samples`` is what Triton's generated warm-up is compared with, a sample set or a folder of them.
    """

    ready_seconds: tuple[float, ...] = ()
    source: str = ""
    samples: Any = None

    @property
    def needed(self) -> float | None:
        """Return the longest measured time to ready, in seconds; None if nothing was measured."""
        return max(self.ready_seconds, default=None)

    @property
    def told(self) -> str:
        """Return that figure in words."""
        return f"{self.needed or 0:.0f} s to ready were measured ({self.source})"


T = TypeVar("T")


@dataclass(frozen=True)
class Rule(Generic[T]):
    """One thing that makes a server serve cold.

    ``check`` takes one subject (a container, an object, a model, a Dockerfile) and yields problems. ``failing`` and
    ``passing`` are examples by file name, which the tests run and the documentation shows; ``known`` is what the
    failing example needs to be known.
    """

    id: str
    severity: Severity
    summary: str
    page: str
    check: Callable[[T, Knowledge], Iterator[Problem]]
    failing: Mapping[str, str | bytes]
    passing: Mapping[str, str | bytes]
    known: Knowledge = field(default_factory=Knowledge)

    def findings(self, path: str, subject: T, known: Knowledge) -> Iterator[Finding]:
        """Yield what it finds in one subject of the file ``path``."""
        for problem in self.check(subject, known):
            severity = problem.severity or self.severity
            yield Finding(path, problem.position, severity, self.id, problem.message, problem.edits)


class UnreadableError(WarmupError):
    """A file cannot be checked; the others can."""
