"""The built wheel with its nine requirements and no extra: what serves works, and the rest says what it lacks."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from kserve_server import HERE, KServeServer, v1_body
from sample_sets import samples, save

REPORT = Path(__file__).parents[1] / "data" / "reports" / "warmup-silero-vad.json"


@pytest.fixture(scope="module")
def python(install):
    return install("--no-compile")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    save(folder / "set", samples("v1", "v2", "v2-binary", "grpc"))
    (folder / "traffic.jsonl").write_bytes(v1_body() + b"\n")
    (folder / "models" / "model").mkdir(parents=True)
    (folder / "models" / "model" / "config.pbtxt").write_text('backend: "python"')
    return folder


@pytest.fixture(scope="module")
def server(python, folder, tmp_path_factory):
    command = [python, "-m", "kserve_warmup", "serve", "predictors:OwnLoad", "--model_name=model"]
    seen = tmp_path_factory.mktemp("seen")
    with KServeServer(
        "", command=command, samples=folder / "set", PYTHONPATH="", capture_dir=seen, capture_rate=1
    ) as server:
        server.wait_ready()
        server.captured = seen
        yield server


def run(python, folder, elsewhere, arguments):
    command = [python, "-m", "kserve_warmup", *arguments.split()]
    return subprocess.run(command, cwd=folder, env=elsewhere, capture_output=True, text=True, timeout=120, check=False)


def test_the_base_has_nine_requirements(python):
    code = "from importlib.metadata import requires; print(*requires('kserve-warmup'), sep='\\n')"
    required = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert 0 < len([line for line in required if "extra ==" not in line]) <= 9


@pytest.mark.parametrize("extra", ["sample", "all"])
def test_extras_that_need_another_numpy_than_tritonserver_are_refused_together(wheel, extra):
    command = [sys.executable, "-m", "pip", "install", "--dry-run"]

    done = subprocess.run([*command, f"{wheel}[{extra},triton-server]"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "depends on numpy<2" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("sample traffic.jsonl --out new --model model", "sample"),
        ("sample traffic.jsonl --out new --model model --engine ray", "sample"),
        ("triton models --samples set", "triton"),
        ("demo", "demo"),
        (f"report {REPORT} --out report.html", "verify"),
        ("verify --samples set --out report.html http://127.0.0.1:9", "verify"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks_in_one_line(python, folder, elsewhere, arguments, extra):
    done = run(python, folder, elsewhere, arguments)

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"pip install 'kserve-warmup[{extra}]'")
    assert {file.name for file in folder.iterdir()} >= {"set", "traffic.jsonl", "models"}
    assert not any((folder / name).exists() for name in ("new", "out", "report.html"))


@pytest.mark.parametrize(
    "arguments",
    [
        "--version",
        "--help",
        "triton --help",
        "inspect set",
        f"report {REPORT}",
        "manifests --model model --runtime kserve --image i --ready-seconds 3 --samples set",
    ],
)
def test_what_needs_no_extra_works(python, folder, elsewhere, arguments):
    done = run(python, folder, elsewhere, arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_gate_warms_it_over_the_wire(python, folder, server, elsewhere):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    servers = [f"http://127.0.0.1:{server.http}", "--grpc", f"127.0.0.1:{server.grpc}", "--samples", folder / "set"]
    command = [python, "-m", "kserve_warmup", "gate", *servers, "--port", str(port), "--max-seconds=10"]
    deadline, ready = time.monotonic() + 90, False
    gate = subprocess.Popen(command, env=elsewhere, stderr=subprocess.PIPE, text=True)
    try:
        while not ready and time.monotonic() < deadline and gate.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
                ready = answer.status == 200
            time.sleep(0.1)
    finally:
        gate.terminate()
    assert ready, gate.communicate()[1]


def test_a_server_warms_up_and_records_what_the_next_start_warms_with(python, server, tmp_path):
    server.predict()
    server.wait_ready()
    server.process.terminate()
    server.process.wait(30)

    report = tmp_path / "report.json"
    command = [python, str(HERE / "predictors.py"), "OwnLoad"]
    with KServeServer("", command=command, PYTHONPATH="", capture_dir=server.captured, report=report) as again:
        again.wait_ready()

    (stratum,) = json.loads(report.read_text())["strata"]
    assert (stratum["protocol"], stratum["converged"]) == ("v1", True)
