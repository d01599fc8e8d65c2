"""The command line: one module a command."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from kserve_warmup.errors import WarmupError

COMMANDS = ("demo", "sample", "inspect", "triton", "serve")

app = typer.Typer(name="kserve-warmup", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root(ctx: typer.Context, debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    """Warm model servers with real requests until they are steady."""
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command line; a known error is one line on stderr and its own exit code."""
    for command in COMMANDS:
        app.command(command)(importlib.import_module(f"kserve_warmup.cli.{command}").run)
    try:
        app()
    except WarmupError as error:
        if "--debug" in sys.argv:
            raise
        sys.stderr.write(f"kserve-warmup: {error}\n")
        sys.exit(error.exit_code)
