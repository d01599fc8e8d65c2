"""What a server and a gate publish of a warm-up says what the report says."""

import pytest
from gate_process import GateProcess
from prometheus_client.parser import text_string_to_metric_families

from kserve_warmup import WarmupReport


def series(text):
    """Return the samples of our series by their names, each with its labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("kserve_warmup_"):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


OF_A_STRATUM = {
    "calls_total": lambda stratum: stratum.calls,
    "seconds": lambda stratum: stratum.seconds,
    "converged": lambda stratum: float(stratum.converged),
    "first_latency_seconds": lambda stratum: stratum.first_ms / 1000,
    "steady_latency_seconds": lambda stratum: stratum.steady_ms / 1000,
}


def by_stratum(found, name):
    return {(x["protocol"], x["signature"], int(x["batch"])): value for x, value in found[name]}


def test_every_series_of_a_warm_up_has_the_values_of_its_report_and_every_call_is_counted_once(
    start, sample_set, tmp_path
):
    server = start("OwnLoad", samples=sample_set, report=tmp_path / "report.json")
    server.wait_ready()

    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    found = series(server.get("/metrics")[1].decode())

    assert report.transport == "in_process, rest, grpc"
    assert len(report.strata) == 8
    for name, told in OF_A_STRATUM.items():
        expected = {(s.protocol, s.signature, s.batch): pytest.approx(told(s)) for s in report.strata}
        assert by_stratum(found, f"kserve_warmup_{name}") == expected, name
    assert report.calls == server.predict()[0]
    for name, value in (("coverage", report.coverage), ("unsteady", report.unsteady), ("refused", 0)):
        assert found[f"kserve_warmup_{name}_ratio"] == [({"model_name": "model"}, pytest.approx(value))]


def test_what_a_model_refuses_is_published_reported_and_logged_with_its_share(start, v1_set, tmp_path):
    server = start("TakesOneRow", samples=v1_set, report=tmp_path / "report.json")
    server.wait_ready()

    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    found = series(server.get("/metrics")[1].decode())

    assert [(s.batch, s.left_out) for s in report.strata if s.refused] == [(2, True)]
    assert report.refused_share == pytest.approx(0.5)
    assert found["kserve_warmup_refused_ratio"][0][1] == pytest.approx(0.5)
    assert "50.0% refused by the model" in server.log


def test_a_gate_lets_a_server_through_that_refuses_some_and_says_which(start, v1_set):
    server = start("TakesOneRow", enabled="false")
    server.wait_ready()

    with GateProcess(f"http://127.0.0.1:{server.http}", v1_set) as gate:
        state = gate.wait_phase("ready")
        found = series(gate.get("/metrics")[1])

    assert state["detail"].endswith(" of 2 strata steady, 1 refused")
    (model,) = state["models"]
    assert model["refused"] == pytest.approx(0.5)
    assert model["coverage"] + model["unsteady"] == pytest.approx(0.5)
    assert found["kserve_warmup_refused_ratio"][0][1] == pytest.approx(0.5)
    assert "the server refuses 1 of 2 strata, they are left out; first model v1 instances:FP64[N,2] batch 2" in gate.log
