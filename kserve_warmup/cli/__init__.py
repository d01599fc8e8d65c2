"""The command line: one module a command."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from kserve_warmup.errors import WarmupError

PASS_OPTIONS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
"""KServe parses its own options from the same command line."""

COMMANDS: dict[str, dict[str, bool]] = {
    "demo": {},
    "sample": {},
    "inspect": {},
    "triton": {},
    "serve": PASS_OPTIONS_ON,
    "gate": {},
    "verify": {},
    "report": {},
}

app = typer.Typer(name="kserve-warmup", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """Warm model servers with real requests until they are steady."""


def main() -> None:
    """Run the command line; a known error is one line on stderr and its own exit code."""
    asked = [name for name in COMMANDS if name in sys.argv[1:]]
    for name in asked or COMMANDS:  # the commands' imports are heavy: only the one that runs
        command = importlib.import_module(f"kserve_warmup.cli.{name}")
        app.command(name, context_settings=COMMANDS[name])(command.run)
    try:
        app()
    except WarmupError as error:
        if "--debug" in sys.argv:
            raise
        sys.stderr.write(f"kserve-warmup: {error}\n")
        sys.exit(error.exit_code)
