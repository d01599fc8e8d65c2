"""A gate that is shown traffic: what its samples lack is named, counted and recorded, and it stays small and up."""

import json
import time
from pathlib import Path

import pytest
from gate_process import GateProcess
from kserve_server import free_ports, v1_body
from sample_sets import samples, save

from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.transports.http import Address, fetch_now

EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "http://localhost:9081/",
    "ce-type": "org.kubeflow.serving.inference.request",
    "ce-inferenceservicename": "model",
    "content-type": "application/json",
}


@pytest.fixture
def ports():
    return free_ports(2)


@pytest.fixture
def known(tmp_path):
    return save(tmp_path / "known", samples("v1", rows=(1, 2)))


def show(gate, body, **headers):
    headers = EVENT | {name.replace("_", "-"): value for name, value in headers.items()}
    return fetch_now(Address("127.0.0.1", gate.port), "POST", "/traffic", headers, body, seconds=10).status


def show_plain(gate, body):
    kind = {"content-type": "application/cloudevents+json"}
    return fetch_now(Address("127.0.0.1", gate.port), "POST", "/traffic", kind, body, seconds=10).status


def unseen(gate, protocol="v1"):
    lines = gate.get("/metrics")[1].splitlines()
    name = f'kserve_warmup_unseen_requests_total{{protocol="{protocol}"}} '
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)


def test_a_kind_that_the_samples_lack_is_named_counted_and_recorded(start, ports, known, tmp_path, monkeypatch):
    monkeypatch.setenv("KSERVE_WARMUP_CAPTURE_DIR", str(tmp_path / "seen"))
    with GateProcess(f"http://127.0.0.1:{ports[0]}", known, "--traffic") as gate:
        start("Plain", ports=ports)
        gate.wait_phase("ready")
        assert show(gate, v1_body(2)) == 202
        assert show(gate, v1_body(5), ce_type="org.kubeflow.serving.inference.response") == 202
        assert unseen(gate) == 0

        structured = {"specversion": "1.0", "type": EVENT["ce-type"], "id": "2", "source": "x"}
        structured |= {"datacontenttype": "application/json", "data": json.loads(v1_body(7))}
        gate.wait(
            lambda _: show(gate, v1_body(3)) == 202 and unseen(gate) > 0
        )  # of many that come at once some are judged
        known_by_now = unseen(gate)
        body = json.dumps(structured).encode()
        gate.wait(lambda _: show_plain(gate, body) == 202 and unseen(gate) > known_by_now)
        assert gate.state["ready"]
        log = gate.stop()

    assert "a request of a stratum that was not warmed" in log
    assert "batch 3" in log
    found, _ = sample_traffic(sorted((tmp_path / "seen" / "model").glob("*.jsonl")), "model")
    assert {sample.batch for sample in found} == {3, 7}


def test_what_is_no_traffic_is_said_once_and_harms_nothing(start, ports, known):
    with GateProcess(f"http://127.0.0.1:{ports[0]}", known, "--traffic") as gate:
        start("Plain", ports=ports)
        gate.wait_phase("ready")
        for body in (b"", b"[]", b"{", b"\x00" * 100, b'{"specversion": 1, "type": []}', b"[" * 100_000):
            assert show(gate, body) == 202
            assert show_plain(gate, body) == 202
        assert show(gate, b" " * (17 << 20)) == 413
        assert unseen(gate) == 0
        assert gate.state["ready"]
        assert gate.stop().count("/traffic was sent") == 1


def test_a_gate_takes_no_traffic_unless_it_is_asked_to(ports, known):
    with GateProcess(f"http://127.0.0.1:{ports[0]}", known) as gate:
        gate.wait_phase("waiting")
        assert show(gate, v1_body(3)) == 404
        assert "unseen" not in gate.get("/metrics")[1]


def test_requests_are_told_apart_by_the_service_that_the_logger_names(ports, tmp_path):
    folder = tmp_path / "both"
    save(folder / "model", samples("v1", rows=(1,)))
    save(folder / "other", samples("v1", rows=(4,)), model="other")
    with GateProcess(f"http://127.0.0.1:{ports[0]}", folder, "--traffic") as gate:
        gate.wait_phase("waiting")
        show(gate, v1_body(4), ce_inferenceservicename="elsewhere")
        for _ in range(30):
            show(gate, v1_body(4), ce_inferenceservicename="other")
            time.sleep(0.05)
        assert unseen(gate) == 0
        gate.wait(lambda _: show(gate, v1_body(4), ce_inferenceservicename="model") == 202 and unseen(gate) > 0)
        assert "none of model, other" in gate.stop()


def test_memory_stays_small_while_traffic_is_shown(start, ports, known):
    with GateProcess(f"http://127.0.0.1:{ports[0]}", known, "--traffic") as gate:
        start("Plain", ports=ports)
        gate.wait_phase("ready")
        for rows in range(3, 200):
            show(gate, v1_body(rows))
        status = Path(f"/proc/{gate.process.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        assert peak < 70_000, f"{peak} kB"
