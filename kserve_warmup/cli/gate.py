"""``kserve-warmup gate``: hold a pod's readiness until the server beside it is warm."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kserve_warmup.cli.options import (
    CaCert,
    Cert,
    GrpcAddress,
    Headers,
    Key,
    ModelName,
    OwnPath,
    Samples,
    ServerName,
    ServerReady,
    sizes,
)
from kserve_warmup.request_headers import parse_header_options


def run(
    url: Annotated[str, typer.Argument(help="The server: http(s)://HOST:PORT, or grpc(s):// for gRPC alone.")],
    *,
    samples: Samples,
    model: ModelName = None,
    grpc: GrpcAddress = None,
    header: Headers = None,
    path: OwnPath = None,
    ready: ServerReady = None,
    cacert: CaCert = None,
    server_name: ServerName = None,
    cert: Cert = None,
    key: Key = None,
    port: Annotated[int, typer.Option(help="Where /ready, /metrics and /report are; 0 takes a free one.")] = 8085,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on. Default: all, of IPv4 and IPv6.", show_default=False)
    ] = None,
    traffic: Annotated[
        bool,
        typer.Option(
            "--traffic", help="Take on /traffic what KServe's inference logger sends, and tell what was not warmed."
        ),
    ] = False,
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Requests at once, each number until steady, such as 1,8 for a server of language models. Default: "
            "1, and to models with tensors 2, 4 and 8.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Ask language models for that many tokens at most: a warm-up with long answers takes a fraction of "
            "the time. Default: as recorded.",
            show_default=False,
        ),
    ] = None,
    proxy: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Open this port once the server is warm, and pass HTTP and gRPC on to it; needs HAProxy. For Knative, "
            "where a sidecar has no probe of its own.",
            show_default=False,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Budget of one model's warm-up. Default: 60.", show_default=False)
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(
            help="When every sample of a stratum fails: fail (not ready, try again) or serve. Default: fail.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send real requests to a server until it is steady, and only then answer 200 on /ready.

    Point the pod's readiness probe at /ready. A server that restarts is warmed anew, and /ready says 503 meanwhile.
    Users' requests wait meanwhile with --proxy.
    The settings of the environment, KSERVE_WARMUP_*, hold here too.
    """
    from kserve_warmup.gate.main import become
    from kserve_warmup.gate.options import checked
    from kserve_warmup.signals import ends_at_once

    given: dict[str, Any] = {"max_seconds": max_seconds, "on_failure": on_failure}
    given["headers"] = parse_header_options(header) if header else None
    given |= {"cacert": cacert, "server_name": server_name, "cert": cert, "key": key}
    settings = {name: value for name, value in given.items() if value is not None}
    settings |= {"model": model, "grpc": grpc, "host": host, "port": port}
    settings |= {"traffic": traffic, "proxy": proxy, "path": path, "ready": ready, "max_tokens": max_tokens}
    settings |= {"concurrency": sizes(concurrency, "--concurrency") if concurrency else None}
    with ends_at_once():  # nothing but SIGKILL would reach a container's first process otherwise
        become(checked(url, samples, **settings))
