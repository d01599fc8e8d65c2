"""The command line: one module a command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kserve_warmup.errors import WarmupError

COMMANDS = (
    "demo",
    "sample",
    "inspect",
    "triton",
    "serve",
    "bake",
    "with-caches",
    "gate",
    "verify",
    "report",
    "manifests",
    "lint",
)

PASS_OPTIONS_ON = {"serve": {"ignore_unknown_options": True, "allow_extra_args": True}}
"""KServe parses its own options from the same command line."""


class Commands(TyperGroup):
    """The commands, each imported when it is asked for; a known error is one line on stderr and its own exit code."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (Typer passes it)
        """Return the names of all."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (Typer passes it)
        """Import a command; None when there is none of the name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"kserve_warmup.cli.{cmd_name.replace('-', '_')}")
        # texts are plain: as Rich's markup "[ray]" would vanish
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(cmd_name, context_settings=PASS_OPTIONS_ON.get(cmd_name))(module.run)
        return typer.main.get_command(one)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except WarmupError as error:
            if ctx.params["debug"]:
                raise
            sys.stderr.write(f"kserve-warmup: {error}\n")
            sys.exit(error.exit_code)


app = typer.Typer(name="kserve-warmup", cls=Commands, no_args_is_help=True, rich_markup_mode=None)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"kserve-warmup {version('kserve-warmup')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Warm model servers with real requests until they are steady."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; ``arguments`` are the process's own unless given."""
    typer.main.get_command(app)(
        arguments, prog_name="kserve-warmup"
    )  # app() would put an excepthook of Typer's into the process
