"""The errors that cross the package's edge: one clear line each, with the exit code the command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kserve_warmup.printable import printable


class WarmupError(Exception):
    """Something is wrong that a person can mend; the message says what, where and how, in one line."""

    exit_code = 2

    def __init__(self, message: str = "", log: Sequence[str] = ()) -> None:
        """Take the line, which may quote names and servers, and the end of a log to show below it."""
        super().__init__(printable(message))
        self.log = tuple(f"  {printable(line)}" for line in log)

    def __str__(self) -> str:
        """Return the line, and those of the log, fit for a terminal."""
        return "\n".join((str(self.args[0]), *self.log))


class SampleError(WarmupError):
    """A sample, a sample set or a traffic record cannot be used as it is."""


class ProfileError(WarmupError):
    """What earlier starts learned cannot be read; a start without it judges in full."""


class MissingPackageError(WarmupError, ImportError):
    """A package that only some commands need is not installed; the message names the extra that brings it."""


class TritonConfigError(WarmupError):
    """A Triton model cannot be given the warm-up that was asked for; nothing was written."""


class WarmupFailedError(WarmupError):
    """A check failed or the server never became warm; ``report`` says what was warmed, where that is known."""

    exit_code = 1

    def __init__(self, message: str = "", log: Sequence[str] = (), report: Any = None) -> None:
        """Take what every error takes, and a :class:`kserve_warmup.WarmupReport`, whose module stands above this."""
        super().__init__(message, log)
        self.report = report
