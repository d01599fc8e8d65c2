"""Options that more than one command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.errors import WarmupError

Samples = Annotated[Path, typer.Option(help="A sample set, or a folder of one such set per model name.")]
ModelName = Annotated[str | None, typer.Option(help="The model's name on the server. Default: the set's.")]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'NAME: VALUE'",
        help="A header that each request carries, such as 'authorization: @/run/token', where @ names a file; may be "
        "repeated. It is never stored.",
    ),
]
OwnPath = Annotated[
    str | None,
    typer.Option(
        "--path",
        metavar="/PATH",
        help="Where a server with an API of its own takes requests over HTTP, such as /predict; {model} is filled in. "
        "Default: the endpoints of the samples.",
    ),
]
ServerReady = Annotated[
    str | None,
    typer.Option(
        "--ready",
        metavar="/PATH",
        help="Where the server says that it is ready, such as /health; {model} is filled in. Default: the models' own.",
    ),
]
GrpcAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where gRPC is spoken. Default: the next port."),
]


def sizes(text: str) -> tuple[int, ...]:
    """Return what ``--batch-sizes`` names.

    Raises:
        WarmupError: it is no list of whole numbers.
    """
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise WarmupError(f"--batch-sizes {text!r}: write whole numbers with commas, such as 1,4,8") from None
