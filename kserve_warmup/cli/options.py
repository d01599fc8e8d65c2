"""Options that more than one command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Samples = Annotated[Path, typer.Option(help="A sample set, or a folder of one such set per model name.")]
ModelName = Annotated[
    str | None, typer.Option(help="The model's name on the server. Default: the set's.", show_default=False)
]
GrpcAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where gRPC is spoken. Default: the next port.", show_default=False),
]
