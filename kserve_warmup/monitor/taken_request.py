"""A real request under way, held by reference until it is answered, for the case that something compiles for it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from kserve_warmup.sampling.formats.record import Record


@dataclass(frozen=True, slots=True)
class LateCompile:
    """A program that compiled after ready; ``seconds`` is None where the framework does not tell."""

    framework: str
    program: str
    seconds: float | None


@dataclass(slots=True, eq=False)
class TakenRequest:
    """One request.

    Attributes:
        model: Its model's name.
        path: REST's path, or gRPC's method.
        make: Makes the record of it, off the request's path; None once nobody needs it.
        size: Of its body, in bytes.
        compiles: What compiled while it was under way.
        recorded: Whether the capture has it anyway.
        success: Whether it was answered with success.
        over: Whether it was answered; what it left in the background is no part of it.
    """

    model: str
    path: str
    make: Callable[[], Record] | None = None
    size: int = 0
    compiles: list[LateCompile] = field(default_factory=list)
    recorded: bool = False
    success: bool = False
    over: bool = False


CURRENT: ContextVar[TakenRequest | None] = ContextVar("kserve_warmup_request", default=None)
"""The one that the running code answers."""
