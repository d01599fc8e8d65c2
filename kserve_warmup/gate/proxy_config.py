"""What HAProxy is told: one port for HTTP/1.1 and HTTP/2 without TLS, and the model server's two behind it.

Written once; all that changes while it runs is set over its command line (:mod:`kserve_warmup.gate.haproxy`). A request
is held by a server ``later`` that nobody answers for: each try to connect takes :data:`TRY_SECONDS`, and the next one
goes to whichever server is in place by then, ``model`` or ``later``. Nobody must not refuse either: after a request
that went over a connection in use, HAProxy would try again without a pause, and be through with all its tries at once.
``later`` speaks HTTP/1.1, of which each request has a connection of its own: over HTTP/2 all would share the one that
is never made. For the same reason each client's HTTP/2 gets connections of its own (``http-reuse safe``): on a shared
one that breaks, the retries of some are lost.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable, Sequence

from kserve_warmup.gate.gate_plan import ModelSamples
from kserve_warmup.transports.endpoints import WARMUP_HEADER, ready_path

HOLD_SECONDS = 300
"""How long a request waits for a server that has restarted; Knative gives a whole request as much by default."""

TRY_SECONDS = 0.2
"""Between two tries to reach the server for a request that is held."""

BUFFER_BYTES = 64 << 10
"""A request of up to this size can be sent anew when the server went away before it answered: it is gathered whole
before it is passed on. The server could not begin without its end either."""

MOST_CONNECTIONS = 4000

READY = r"^/v2/(?:health|models/[^/]+(?:/versions/[^/]+)?)/ready$"
V1_READY = r"^/v1/models/[^/:]+$"
GRPC_READY = r"^/(?:inference\.GRPCInferenceService/(?:Server|Model)Ready|grpc\.health\.v1\.Health/(?:Check|Watch))$"

INFERENCE = (
    r"^/v1/models/[^/]+:(?:predict|explain)$",
    r"^/v2/models/[^/]+(?:/versions/[^/]+)?/(?:infer|explain|generate|generate_stream)$",
    r"/(?:v1/(?:chat/completions|completions|embeddings|responses|messages)|(?:v[12]/)?(?:rerank|score|classify|pooling))$",
    r"^/inference\.GRPCInferenceService/ModelInfer$",
    r"^/tensorflow\.serving\.PredictionService/",
)
"""What may be sent anew to a server that went away before it answered: it computes, and changes nothing."""


def config(sets: Iterable[ModelSamples], nobody: str, pages: str, port: int, commands: int, *, http: bool) -> str:
    """Return the configuration.

    Args:
        sets: The models, whose own ready endpoints are told apart.
        nobody: An address, host and port, where nobody answers.
        pages: That of the gate's own pages.
        port: The file descriptor of the bound port.
        commands: That of a socket pair's end, over which connections for commands come.
        http: Whether the server speaks HTTP, and not gRPC alone.
    """
    return f"""
global
  nbthread 1
  maxconn {most_connections()}
  stats socket sockpair@{commands} level admin
  stats timeout 1h
  tune.bufsize {BUFFER_BYTES}
defaults
  mode http
  timeout connect {round(TRY_SECONDS * 1000)}ms
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-request 1m
  timeout http-keep-alive 1h
  retries {round(HOLD_SECONDS / TRY_SECONDS)}
  retry-on conn-failure empty-response
  option redispatch 1
  option abortonclose
  option idle-close-on-response
frontend users
  bind fd@{port}
  acl warm srv_is_up(is/warm)
  acl grpc req.hdr(content-type) -m beg application/grpc
{_lines("acl asks_ready", [f"path_reg {_quoted(READY)}", f"path_reg {_quoted(GRPC_READY)}"])}
{_lines("acl asks_ready", (f"path {_quoted(path)}" for path in _own_ready_paths(sets)))}
  acl v1_ready path_reg {_quoted(V1_READY)}
{_lines("acl infers", (f"path_reg {_quoted(path)}" for path in INFERENCE))}
  acl idempotent method GET HEAD OPTIONS PUT DELETE
  http-request del-header {WARMUP_HEADER}
  http-request add-header x-forwarded-for %[src,regsub(^::ffff:,)] unless {{ src 127.0.0.0/8 ::1 }}
  http-request return status 503 hdr retry-after 1 if asks_ready !warm
  http-request return status 503 hdr retry-after 1 if v1_ready METH_GET !warm
  http-request disable-l7-retry unless idempotent or infers
  http-request wait-for-body time 1h if infers
  use_backend gate if {{ path /ready }} !grpc
  use_backend grpc if grpc
  default_backend {"http" if http else "grpc"}
backend gate
  server pages {pages}
backend is
  server warm {nobody} disabled
backend http
  http-reuse always
  server model {nobody} disabled
  server later {nobody}
backend grpc
  http-reuse safe
  server model {nobody} proto h2 disabled
  server later {nobody}
"""


def most_connections() -> int:
    """Return how many connections of users there may be, two descriptors each, within the process's limits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else max(16, min(MOST_CONNECTIONS, (hard - 100) // 2))


def _own_ready_paths(sets: Iterable[ModelSamples]) -> Sequence[str]:
    paths = dict.fromkeys(ready_path(samples, samples.model) for samples in sets)
    return [path for path in paths if not re.match(f"{READY}|{V1_READY}", path)]


def _lines(head: str, tails: Iterable[str]) -> str:
    return "\n".join(f"  {head} {tail}" for tail in tails)


def _quoted(text: str) -> str:
    """Return ``text`` as one word of HAProxy's: single quotes keep all but themselves."""
    return "'" + text.replace("'", "'\\''") + "'"
