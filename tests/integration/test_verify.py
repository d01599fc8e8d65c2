"""Verifying real servers, started anew each time: warm ones pass, cold ones and unseen shapes are named."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from xml.etree import ElementTree as ET

import pytest
from gate_process import GateProcess
from guarded import HOST, TOKEN, guarded, guarded_grpc
from held_ports import free_ports
from kserve_server import HERE
from sample_sets import samples, save
from triton_repository import OUTPUT, Repository, X, sample, tensor

from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.tritonserver import TritonServer
from kserve_warmup.views.figures import TIMES

SERVER = [sys.executable, str(HERE / "predictors.py")]
PORTS = ["--http_port={http_port}", "--grpc_port={grpc_port}"]
QUICK = ["--starts", "2", "--requests", "4", "--pace", "0.01", "--max-ratio", "8"]
"""A limit far from any noise: a compile takes fifty times as long as what follows."""


def verify(*arguments, **env):
    command = [sys.executable, "-m", "kserve_warmup", "verify", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", **env}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def seen(tmp_path):
    return save(tmp_path / "seen", samples("v1"))


@pytest.fixture
def unseen(tmp_path):
    return save(tmp_path / "unseen", samples("v1", rows=(2, 3)))


@pytest.mark.alone
def test_a_warm_server_passes(seen):
    done = verify("--samples", seen, *QUICK, "--", *SERVER, "CompilesPerBatch", *PORTS, KSERVE_WARMUP_SAMPLES=str(seen))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warm" in done.stdout
    assert f"start 2 of 2, first: model: v1 instances:FP64[N,2] {TIMES} " in done.stderr


def test_a_cold_server_fails_and_each_of_its_strata_is_named(seen, tmp_path):
    out, xml = tmp_path / "out.json", tmp_path / "out.xml"
    command = [*SERVER, "CompilesPerBatch", *PORTS]

    done = verify(
        "--samples", seen, *QUICK, "--out", out, "--junit", xml, "--", *command, KSERVE_WARMUP_ENABLED="false"
    )

    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["verdict"] == "fail"
    assert {row["name"]: row["verdict"] for row in found["rows"]} == {
        "first request of the process": "fail",
        f"model: v1 instances:FP64[N,2] {TIMES} 1": "fail",
        f"model: v1 instances:FP64[N,2] {TIMES} 2": "fail",
    }
    assert sorted(start["lead"][-1] for start in found["starts"]) == ["1", "2"]  # each stratum came first once
    assert ET.fromstring(xml.read_bytes()).get("failures") == "3"


@pytest.mark.alone
def test_a_shape_that_was_not_warmed_is_named(seen, unseen, tmp_path):
    page = tmp_path / "report.html"
    command = [*SERVER, "CompilesPerBatch", *PORTS]

    done = verify(
        *("--samples", seen, "--unseen", unseen, *QUICK, "--json", "--out", page),
        *("--", *command),
        KSERVE_WARMUP_SAMPLES=str(seen),
    )

    assert done.returncode == 1, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    failing = [name for name, row in rows.items() if row["verdict"] == "fail"]
    assert failing == [f"model: v1 instances:FP64[N,2] {TIMES} 3"]  # batch 2 is in both sets, and was warmed
    assert rows[failing[0]]["unseen"]
    assert "was not warmed and compiles live" in rows[failing[0]]["why"]
    assert "compiles live" in page.read_text()


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "grpc"])
def test_a_server_that_runs_is_verified_where_it_is(start, tmp_path, protocol):
    server = start("Plain")
    server.wait_ready()
    folder = save(tmp_path / "set", samples(protocol, rows=(1,)))

    done = verify(
        f"http://127.0.0.1:{server.http}",
        *("--grpc", f"127.0.0.1:{server.grpc}", "--samples", folder, *QUICK, "--requests", "6", "--json"),
    )

    found = json.loads(done.stdout)
    assert found["starts"] == [{"ready_seconds": None, "lead": f"model: {protocol} x:FP32[N,2] {TIMES} 1"}]
    assert len(found["rows"][0]["latencies_ms"][0]) == 6


def test_triton_is_verified_over_http_and_grpc(tmp_path):
    repository = Repository(tmp_path)
    repository.add("m", OUTPUT + X + "max_batch_size: 8\n")
    made = (sample(tensor(), protocol="v2"), sample(tensor(), protocol="grpc"))
    SampleSet("m", made).save(tmp_path / "set")
    with TritonServer(repository.models, env=repository.env) as server:
        done = verify(server.http_url, "--grpc", server.grpc_url, "--samples", tmp_path / "set", *QUICK, "--json")

    assert len(json.loads(done.stdout)["rows"]) == 3


@pytest.mark.alone
def test_a_gate_s_ready_is_waited_for_when_it_is_named(start, seen):
    http, grpc = free_ports(2)
    with GateProcess(f"http://127.0.0.1:{http}", seen) as gate:
        start("CompilesPerBatch", ports=(http, grpc), enabled="false")
        done = verify(
            f"http://127.0.0.1:{http}",
            *("--samples", seen, *QUICK, "--ready", f"http://127.0.0.1:{gate.port}/ready", "--json"),
        )

    assert json.loads(done.stdout)["verdict"] == "pass", done.stdout


@pytest.mark.alone
def test_a_pod_of_server_and_gate_is_verified_as_one_command(seen):
    gate = f"{sys.executable} -m kserve_warmup gate http://127.0.0.1:$0 --samples {seen} --port $1"
    script = f"{' '.join(SERVER)} CompilesPerBatch --http_port=$0 --grpc_port=$2 & exec {gate}"
    ready = "http://127.0.0.1:{ready_port}/ready"

    done = verify(
        *("--samples", seen, *QUICK, "--ready", ready, "--json"),
        *("--", "sh", "-c", script, "{http_port}", "{ready_port}", "{grpc_port}"),
    )

    assert json.loads(done.stdout)["verdict"] == "pass", done.stdout + done.stderr


def test_a_command_that_ends_is_told_with_its_last_words(seen):
    done = verify("--samples", seen, *QUICK, "--", "sh", "-c", "echo no weights; exit 3", "{http_port}")

    assert done.returncode == 1
    assert "sh ended with code 3 before it was done:\n  no weights" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["localhost:8000"], "'localhost:8000' is neither an address nor a command: write http://localhost:8000"),
        (["--", "true"], "it is not known where true will listen"),
        (["--", "no-such-program", "{http_port}"], "cannot start no-such-program: No such file or directory"),
        (["http://localhost:1", "--out", "report.pdf"], "name a file that ends in .html, .json or .xml"),
        (["http://localhost:1", "--max-ratio", "0.9"], "a limit lies above 1"),
        (["http://localhost:1", "--unseen", "/nowhere"], "/nowhere holds no sample set"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(seen, arguments, problem):
    options = ["--samples", seen, "--starts", "1"]

    done = verify(*options, *arguments)

    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told_before_anything_starts(start, seen, tmp_path):
    server = start("Plain")
    server.wait_ready()
    mark = tmp_path / "started"

    done = verify(f"http://127.0.0.1:{server.http}", "--samples", seen, "--", "touch", mark)

    assert done.returncode == 2
    assert f"something listens on 127.0.0.1:{server.http} already" in done.stderr
    assert not mark.exists()


def test_nothing_of_a_server_is_left_running(seen):
    helper = f"sleep 600.{os.getpid()}"
    script = f"{helper} & echo started $!; exec {' '.join(SERVER)} Plain --http_port=$0 --grpc_port=$1"

    done = verify("--samples", seen, *QUICK, "--json", "--", "sh", "-c", script, "{http_port}", "{grpc_port}")

    assert len(json.loads(done.stdout)["starts"]) == 2
    assert subprocess.run(["pgrep", "-f", helper], check=False, capture_output=True).stdout == b""


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def test_headers_open_a_server_that_refuses_everybody_else_and_are_stored_nowhere(start, seen, token, tmp_path):
    server = start("Plain")
    server.wait_ready()
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    with guarded(server.http) as url:
        known = ("--header", f"Host: {HOST}", "--header", f"authorization: @{token}")
        done = verify(url, "--samples", seen, *QUICK, *known, "--out", out, "--json")
        shown = verify(url, "--samples", seen, *QUICK, *known, "--out", page)
        without = verify(url, "--samples", seen, *QUICK, *known[:2], "--timeout", "1")
        nowhere = verify(url, "--samples", seen, *QUICK, *known[2:], "--timeout", "1")

    assert json.loads(done.stdout)["rows"], done.stderr
    assert shown.returncode in (0, 1), shown.stderr
    written = [done.stdout, done.stderr, shown.stdout, shown.stderr, out.read_text(), page.read_text()]
    assert not any(secret in text for text in written for secret in (TOKEN, HOST))
    assert (without.returncode, nowhere.returncode) == (1, 1)
    assert "HTTP 401" in without.stderr
    assert "HTTP 404" in nowhere.stderr


def test_headers_open_a_grpc_server_too(token, tmp_path):
    folder = save(tmp_path / "grpc", samples("grpc", rows=(1,)))
    with guarded_grpc() as address:
        done = verify(
            f"grpc://{address}", "--samples", folder, *QUICK, "--header", f"Authorization: @{token}", "--json"
        )
        without = verify(f"grpc://{address}", "--samples", folder, *QUICK, "--timeout", "1")

    assert json.loads(done.stdout)["rows"], done.stderr
    assert without.returncode == 1
    assert "gRPC UNAUTHENTICATED" in without.stderr


def test_what_opens_the_server_is_not_said_to_another_that_tells_when_it_is_ready(start, seen):
    server = start("Plain")
    server.wait_ready()
    heard = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.headers.get("authorization"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with guarded(server.http) as url, HTTPServer(("127.0.0.1", 0), Ready) as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        headers = ("--header", f"host: {HOST}", "--header", f"authorization: {TOKEN}")
        ready = ("--ready", f"http://127.0.0.1:{other.server_port}/ready")
        done = verify(url, "--samples", seen, *QUICK, *headers, *ready, "--json")
        other.shutdown()

    assert json.loads(done.stdout)["rows"], done.stderr
    assert heard == [None]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("s3cret-0815", "--header takes 'name: value', or 'name: @/path/of/a/file': there is no colon"),
        ("authorization: @/nowhere/s3cret", "the header authorization: cannot read /nowhere/s3cret: No such file"),
        ("x key: 1", "'x key' is not a header's name"),
        ("content-length: 4", "the header content-length is set by the client itself"),
        ("authorization: s3cret-é", "the header authorization has a value that no header can have"),
    ],
)
def test_a_header_that_cannot_be_sent_is_one_line_and_exit_code_2(seen, header, problem):
    done = verify("http://localhost:1", "--samples", seen, "--header", header)

    assert done.returncode == 2
    assert problem in done.stderr
    assert "s3cret-" not in done.stderr
    assert "Traceback" not in done.stderr
