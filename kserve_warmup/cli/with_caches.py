"""``kserve-warmup with-caches``: start any server with the compile caches that ``bake`` kept."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="What starts the server, such as tritonserver and its options."),
    ],
) -> None:
    """Check what 'bake' made, point the frameworks' variables to it, and become the command.

    For servers of WarmupModels 'serve' does this by itself. KSERVE_WARMUP_BAKED, _CACHE and _CACHE_TRUST hold here too.
    """
    from kserve_warmup.caches.exec_command import become

    become(command)
