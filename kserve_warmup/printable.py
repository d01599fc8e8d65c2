"""Foreign text made fit for a terminal and a log: names, signatures, file names, and what servers say.

What such a text holds is for a person to read, and never for the terminal to obey: escape sequences, line ends, and the
marks that turn the direction of writing are written out.
"""

from __future__ import annotations

import logging
import traceback

LONGEST = 2000
"""Characters of a line that are shown; nobody reads more of an error, and a name may have a million."""

LOGGERS = ("kserve.warmup", "kserve_warmup.gate")
"""All loggers of this package; the first is a child of the one that KServe configures."""


def printable(text: object, longest: int = LONGEST) -> str:
    r"""Return a text in one line without anything that a terminal would obey: ``\x1b``, ``\n``, ``\u202e`` stand in it.

    Control characters (C0, C1, DEL), format characters (among them the marks that turn the direction of writing, and
    those without a width), line and paragraph separators and lone surrogates are written out as Python writes them.
    """
    line = str(text)
    if len(line) > longest:
        line = f"{line[:longest]}…"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c == "\N{NO-BREAK SPACE}" else _written_out(c) for c in line)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class PrintableFilter(logging.Filter):
    """Makes a record's message, and the exception that comes with it, printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, made printable."""
        record.msg, record.args = printable(record.getMessage()), ()
        if record.exc_info and record.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")
            record.exc_text = "\n".join(map(printable, lines))
        return True


def guard_loggers() -> None:
    """Make whatever is logged by this package printable, however the process has set its log up."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(f, PrintableFilter) for f in logger.filters):
            logger.addFilter(PrintableFilter())
