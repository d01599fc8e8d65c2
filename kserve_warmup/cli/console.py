"""What commands write on: nothing that a name, a file or a server says makes the terminal do anything."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from kserve_warmup.printable import printable


class PlainConsole(Console):
    """A console whose strings are made printable before they are laid out, line by line."""

    def render_str(self, text: str, **options: Any) -> Text:  # Rich's own options, passed on
        """Return a string as text that holds nothing but what is to be seen."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def say(self, text: str) -> None:
        """Print one line as it is, however long: no markup, no line end inside."""
        self.print(printable(text), soft_wrap=True, highlight=False, markup=False)


def output() -> PlainConsole:
    """Return where results go."""
    return PlainConsole(emoji=False)


def notes() -> PlainConsole:
    """Return where what is said beside the results goes."""
    return PlainConsole(stderr=True, emoji=False)


def warn(line: str) -> None:
    """Write one line to stderr, whether that is a terminal or not."""
    sys.stderr.write(f"{printable(line)}\n")
