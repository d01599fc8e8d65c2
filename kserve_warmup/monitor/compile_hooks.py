"""Where frameworks tell of their compiles: hooks are put in once, for what is imported, and harm nothing."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, Protocol

logger = logging.getLogger("kserve.warmup")

Tell = Callable[[str, float | None], None]
"""Takes a program's name and the seconds that its compile took, None if they are not known."""


class CompileHook(Protocol):
    """One framework's touch point; a module of this package.

    Attributes:
        FRAMEWORK: What people call it.
        MODULE: Whose presence in ``sys.modules`` says that it is in use; it is never imported to look.
    """

    FRAMEWORK: str
    MODULE: str

    def install(self, tell: Tell) -> None:
        """Have the framework call ``tell`` after each compile; any exception says that its touch point is gone."""


class Hooks:
    """The hooks of one process."""

    def __init__(self, hooks: tuple[Any, ...], told: Callable[[str, str, float | None], None]) -> None:
        """Take the frameworks' modules, and what takes a framework, a program and seconds."""
        self._waiting, self._told = list(hooks), told

    def install(self) -> None:
        """Put in those whose framework is imported by now, each once; one that cannot be put in is named."""
        for hook in tuple(self._waiting):
            if hook.MODULE not in sys.modules:
                continue
            self._waiting.remove(hook)
            try:
                hook.install(_harmless(functools.partial(self._told, hook.FRAMEWORK)))
            except Exception as error:  # noqa: BLE001  (whatever an upgrade did, serving goes on)
                what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                logger.warning("compiles of %s after ready are not seen: its hook is gone (%s)", hook.FRAMEWORK, what)


def _harmless(tell: Tell) -> Tell:
    """Return ``tell`` as the framework may call it: it raises nothing."""

    def told(program: str, seconds: float | None) -> None:
        try:
            tell(program, seconds)
        except Exception:
            logger.debug("a late compile could not be told", exc_info=True)

    return told
