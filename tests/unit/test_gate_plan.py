"""What a gate is to do gets whole into the process that does it."""

from __future__ import annotations

import io
from pathlib import Path

from strategies import v1_sample

from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples, Plan
from kserve_warmup.request_headers import parse_headers
from kserve_warmup.tls_options import TlsOptions
from kserve_warmup.transports.endpoints import OwnPaths

HEADERS = parse_headers({"host": "a.example.com", "authorization": {"file": "/run/token", "scheme": "Bearer"}})

TLS = TlsOptions(Path("/run/ca.crt"), "a.example.com", Path("/run/tls.crt"))


def test_a_plan_is_read_as_it_was_written():
    sets = (
        ModelSamples("digits", (v1_sample(1, 1, 1), v1_sample(2, 3, 1))),
        ModelSamples("a/b\n", (v1_sample(1, 2, 2),)),
    )
    settings = GateSettings(1.5, 7, 0.2, False, 3.0, "serve", "fail", HEADERS, Path("/tmp/é.json"), TLS)
    paths = OwnPaths("/{model}", "/health")
    plan = Plan("http://[::1]:80", "http://[::1]:80", "[::1]:81", None, 8085, settings, sets, traffic=True, paths=paths)
    file = io.BytesIO()

    plan.write(file)
    file.seek(0)

    assert Plan.read(file) == plan


def test_a_plan_of_defaults_is_read_as_it_was_written():
    plan = Plan("grpc://x:1", None, "x:1", "127.0.0.1", 0, GateSettings(), ())
    file = io.BytesIO()

    plan.write(file)
    file.seek(0)

    assert Plan.read(file) == plan
