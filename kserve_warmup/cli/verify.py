"""``kserve-warmup verify``: first request against steady state, on fresh starts; exit 1 past the limit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_warmup.cli.console import notes, output
from kserve_warmup.cli.options import GrpcAddress, Headers, ModelName, OwnPath, Samples
from kserve_warmup.cli.report import write
from kserve_warmup.errors import WarmupError
from kserve_warmup.extras import optional

if TYPE_CHECKING:
    from kserve_warmup.verify.running import Command, Live
    from kserve_warmup.verify.verify_result import Verification

SCHEMES = ("http://", "https://", "grpc://")
LIVE_STARTS, LIVE_REQUESTS = 1, 40
"""A server that runs already has one first request: only more of the later ones can make its verdict surer."""


def run(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="[URL] [-- COMMAND...]",
            help="A server that runs, or a command that starts one, {http_port} and {grpc_port} in it being filled in. "
            "With both, the URL says where the command will listen.",
        ),
    ],
    *,
    samples: Samples,
    unseen: Annotated[
        Path | None,
        typer.Option(help="Other samples: name those of their strata that compile live."),
    ] = None,
    model: ModelName = None,
    grpc: GrpcAddress = None,
    header: Headers = None,
    path: OwnPath = None,
    ready: Annotated[
        str | None,
        typer.Option(
            metavar="URL|/PATH",
            help="What to wait for: a URL, such as a gate's /ready, {ready_port} being filled in, or a path on the "
            "server, such as /health, {model} being filled in. Default: the models' own.",
        ),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Fresh starts of the command.")] = 10,
    requests: Annotated[
        int | None,
        typer.Option(min=4, help="Requests to each stratum of a start. Default: 10; 40 to a URL."),
    ] = None,
    max_ratio: Annotated[float, typer.Option(help="Exit 1 when first ÷ steady is above.")] = 1.10,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 also when there is no verdict.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that a start may take until it is ready.")] = 300.0,
    pace: Annotated[float, typer.Option(hidden=True, help="Seconds before each request.")] = 0.3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write it to a file: .html, .json, or .xml for JUnit.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
) -> None:
    """Measure whether the first requests to a server are as fast as later ones.

    Each start gets ready as a probe sees it, then one request at a time, at a steady pace, each on a new connection.
    """
    from kserve_warmup.request_headers import parse_header_options
    from kserve_warmup.samples.sets import open_sets
    from kserve_warmup.transports.endpoints import OwnPaths
    from kserve_warmup.verify.verification import Options, verify
    from kserve_warmup.views.terminal import verification_table

    own = ready is None or ready.startswith("/")
    paths = OwnPaths(path, ready if own else None)
    if own:
        paths.check_ready()
    server = _server(target, grpc, None if own else ready)
    live = not _command(target)
    counts = (LIVE_STARTS, requests or LIVE_REQUESTS) if live else (starts, requests or 10)
    headers = parse_header_options(header or ())
    options = Options(*counts, max_ratio=max_ratio, pace=pace, timeout=timeout, headers=headers, paths=paths)
    form = _form(out)
    sets, new = open_sets(samples, model), open_sets(unseen, model) if unseen else ()
    result = verify(server, sets, options, new, notes().say)
    if out is not None:
        write(out, _rendered(result, form, strict=strict))
    if junit is not None:
        write(junit, _rendered(result, ".xml", strict=strict))
    if as_json:
        sys.stdout.write(result.to_json() + "\n")
    else:
        output().print(verification_table(result))
    if result.verdict == "fail" or (strict and result.verdict == "noisy"):
        raise typer.Exit(1)


def _command(target: list[str]) -> list[str]:
    return target[1:] if target[0].startswith(SCHEMES) else target


def _server(target: list[str], grpc: str | None, ready: str | None) -> Command | Live:
    from kserve_warmup.verify.running import Command, Live

    url = target[0] if target[0].startswith(SCHEMES) else None
    command = _command(target)
    if not command:
        return Live(target[0], grpc, ready)
    if url is None and len(command) == 1 and ":" in command[0]:
        raise WarmupError(f"{command[0]!r} is neither an address nor a command: write http://{command[0]}")
    server = Command(command, url, grpc, ready)
    server.check()
    return server


def _form(out: Path | None) -> str:
    form = ".json" if out is None else out.suffix.lower()
    if form not in (".html", ".json", ".xml"):
        raise WarmupError(f"--out {out}: name a file that ends in .html, .json or .xml")
    if form == ".html":
        optional("jinja2", "HTML reports need", "verify")
    return form


def _rendered(result: Verification, form: str, *, strict: bool) -> str:
    if form == ".html":
        from kserve_warmup.views.html import render_report

        return render_report(result)
    if form == ".xml":
        from kserve_warmup.verify.junit import junit

        return junit(result, strict=strict)
    return result.to_json() + "\n"
