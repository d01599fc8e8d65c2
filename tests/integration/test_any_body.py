"""Whatever KServe hands to a predictor is recorded by it, and warms its next start."""

import gzip
import json

import pytest
from test_capture import recorded, wait_for

from kserve_warmup.sampling import reader
from kserve_warmup.transports.rest import RestTransport

JSON = "application/json"
PREDICT, EXPLAIN = "/v1/models/model:predict", "/v1/models/model:explain"
PNG = b"\x89PNG\r\n\x1a\n\0\xff"
ASKED = {
    "own object": (PREDICT, {"content-type": JSON}, b'{"roi": "aGk=",  "country": "xx"}'),
    "array": (PREDICT, {"content-type": JSON}, b"[[1, 2.50]]"),
    "image": (PREDICT, {"content-type": "image/png"}, PNG),
    "csv": (PREDICT, {"content-type": "text/csv; header=absent"}, b"1,2\n3,4\n"),
    "avro": (PREDICT, {"content-type": "application/avro"}, b"Obj\x01\x04\x14"),
    "explain": (EXPLAIN, {"content-type": JSON}, b'{"instances": [[0.1, 0.9]]}'),
    "gzip": (PREDICT, {"content-type": JSON, "content-encoding": "gzip"}, gzip.compress(b'{"instances": [[7]]}')),
}


def ask(server, name):
    path, headers, body = ASKED[name]
    status, answer, _ = server.post(path, body, headers)
    assert status == 200, (name, answer)
    return json.loads(answer)


@pytest.fixture
def seen(start, tmp_path):
    """Return the folder in which a server has recorded one request of each kind."""
    server = start("", script="traffic_models.py", capture_dir=tmp_path / "seen", capture_rate=1)
    server.wait_ready()
    assert [ask(server, name)["size"] for name in ("own object", "image", "csv", "avro")] == [2, len(PNG), 8, 6]
    for name in ("array", "explain", "gzip"):
        ask(server, name)
    wait_for(tmp_path / "seen", len(ASKED))
    server.process.terminate()
    server.process.wait(20)
    return tmp_path / "seen"


def test_what_a_model_has_recorded_of_any_kind_warms_its_next_start(start, seen, tmp_path):
    plain = {name: body for name, (_, _, body) in ASKED.items()} | {"gzip": b'{"instances": [[7]]}'}
    assert sorted(record.body for record in recorded(seen)) == sorted(plain.values())
    report = tmp_path / "report.json"
    server = start("", script="traffic_models.py", capture_dir=seen, report=report)
    server.wait_ready()
    told = json.loads(report.read_text())
    assert sorted(s["protocol"] for s in told["strata"]) == ["raw"] * 3 + ["v1"] * 4
    cold = {name: answer for name in ASKED if not (answer := ask(server, name))["before"]}
    assert not cold


def test_each_recorded_request_is_answered_over_rest_too(start, seen):
    server = start("", script="traffic_models.py")
    server.wait_ready()
    transport = RestTransport(f"http://127.0.0.1:{server.http}", "model", 30)
    samples = list(reader.read([seen]))
    assert len(samples) == len(ASKED)
    for sample in samples:
        assert json.loads(transport.prepared(sample)().body)["size"] > 0
