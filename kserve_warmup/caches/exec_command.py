"""Become another program, with the baked caches checked and its frameworks pointed to them.

It needs nothing but Python's own library, so that an image whose Python has none of our dependencies can start this way
too: ``python3 -m kserve_warmup.caches.exec_command COMMAND``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from kserve_warmup.caches import baked, shadow
from kserve_warmup.errors import WarmupError
from kserve_warmup.printable import printable


def become(command: Sequence[str]) -> NoReturn:
    """Run ``command`` in this process, whose id, signals and exit code are then the command's.

    Without a baked folder, and with one that does not fit, the command runs as if nothing of ours were there; why is
    said on standard error.

    Raises:
        WarmupError: There is no such program.
        RequiredCacheError: ``KSERVE_WARMUP_CACHE=require``, and the caches cannot be used.
    """
    program = shutil.which(command[0])
    if program is None:
        raise WarmupError(f"{command[0]!r}: there is no such program on PATH")
    baked.begin(command, _tell)
    found = baked.BAKED
    for line in found.said:
        _tell(f"{found.folder}: {line}")
    if found.caches is not None:
        _tell(f"{found.folder}: {found.files} files of compile caches are at hand")
    shadow.outlive_exec()
    try:
        os.execv(program, list(command))  # noqa: S606  (the caller's own command)
    except OSError as error:
        raise WarmupError(f"cannot start {command[0]}: {error.strerror}") from None


def _tell(line: str) -> None:
    sys.stderr.write(f"kserve-warmup: {printable(line)}\n")
    sys.stderr.flush()


def main(command: Sequence[str]) -> None:
    """Run ``command``; an error is one line, and its exit code."""
    try:
        become(command or [""])
    except WarmupError as error:
        sys.stderr.write(f"kserve-warmup: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
