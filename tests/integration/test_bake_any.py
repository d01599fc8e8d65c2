"""Servers that do not warm themselves: baked from outside, and started with what was baked on their own Python."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from kserve_warmup import SampleSet
from kserve_warmup.caches.fingerprint import read_fingerprint
from kserve_warmup.latency import Target, send, wait_ready
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.triton.tritonserver import backend_of, find_tritonserver

ROOT = Path(__file__).parents[2]
KNN = ROOT / "model_repository/digits_knn"
SAMPLES = ROOT / "examples/digits_knn/warmup"
PLAIN = """
import sys, uuid
from pathlib import Path
import kserve
from kserve import InferOutput, InferResponse
{first}
import core

class Plain(kserve.Model):
    def load(self):
        self.digits = core.load(Path(__file__).parent)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        digit = self.digits({tensor.name: tensor.as_numpy() for tensor in payload.inputs})["digit"]
        output = InferOutput("digit", list(digit.shape), "INT64")
        output.set_data_from_numpy(digit, binary_data=False)
        stats = core.nearest.stats
        parameters = {"hits": sum(stats.cache_hits.values()), "misses": sum(stats.cache_misses.values())}
        return InferResponse(str(uuid.uuid4()), self.name, [output], parameters=parameters)

if __name__ == "__main__":
    model = Plain("digits_knn")
    model.load()
    kserve.ModelServer().start([model])
"""
MODEL = "digits_knn"
FIGURES = ("ready_seconds", "warmup_seconds", "first_seconds", "calls", "steady")
CHANGE = "with (Path(__file__).parent / 'core.py').open('a') as code: code.write('# another start\\n')"


def environment(**settings):
    own = {f"KSERVE_WARMUP_{name.upper()}": str(value) for name, value in settings.items() if name.islower()}
    given = {name: str(value) for name, value in settings.items() if not name.islower()}
    return {**os.environ, "PYTHONPATH": str(ROOT)} | own | given


def cli(*arguments, cwd=None, env=None):
    command = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env or environment(), capture_output=True, text=True, check=False)


def app(folder, first=""):
    """Return the command of a plain KServe server; ``first`` is what it does before it imports the model."""
    for name in ("core.py", "known.npz"):
        shutil.copy(KNN / "1" / name, folder)
    (folder / "plain.py").write_text(PLAIN.replace("{first}", first))
    return [sys.executable, str(folder / "plain.py"), "--http_port", "{http_port}", "--grpc_port", "{grpc_port}"]


class Started(ServerProcess):
    """A command behind ``with-caches``, its ports filled in, until it is ready."""

    def __init__(self, command, baked, **settings):
        http, grpc = free_ports(2)
        self.http, self.grpc = Target(f"http://127.0.0.1:{http}", MODEL), Target(f"127.0.0.1:{grpc}", MODEL)
        command = [part.replace("{http_port}", str(http)).replace("{grpc_port}", str(grpc)) for part in command]
        env = environment(baked=baked, cache_trust="writable", **settings)
        super().__init__([sys.executable, "-m", "kserve_warmup", "with-caches", "--", *command], env=env)

    def __enter__(self):
        super().__enter__()
        wait_ready(self.http, "v2", 120, self.alive)
        return self

    def answers(self):
        """Send each sample once; return the answers over HTTP."""
        found = SampleSet.open(SAMPLES)
        for one in found:
            if one.protocol == "grpc":
                send(one, self.grpc)
        return [json.loads(send(one, self.http)) for one in found if one.protocol == "v2"]

    def private(self):
        """Return the private folder of its caches, which the program that it has become was given."""
        variables = Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        (found,) = [value for value in variables if value.startswith(b"NUMBA_CACHE_DIR=")]
        return Path(found.decode().partition("=")[2]).parents[1]

    def programs(self):
        """Return what tells each program that numba keeps there from one that was written anew."""
        return {file: file.stat().st_ino for file in self.private().rglob("*.nb?")}


@contextmanager
def triton(folder):
    """Yield the command and the variables of a real tritonserver with a Python model, without warm-up of its own."""
    models = folder / "models"
    shutil.copytree(KNN, models / MODEL, ignore=shutil.ignore_patterns("__pycache__", "warmup"))
    config = models / MODEL / "config.pbtxt"
    config.write_text(config.read_text().partition("# >>> kserve-warmup")[0])
    install = find_tritonserver()
    arguments, variables = backend_of(install, folder)
    ports = ["--http-port={http_port}", "--grpc-port={grpc_port}", "--allow-metrics=false"]
    yield [str(install.binary), *arguments, *ports, f"--model-repository={models}"], variables


def test_a_plain_kserve_server_is_baked_from_outside_and_a_later_start_hits(tmp_path):
    command, out = app(tmp_path), tmp_path / "warm"
    done = cli("bake", "--samples", SAMPLES, "--out", out, "--json", "--", *command)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["files"] > 0
    assert all(start["outside"] and not start["cache"] for start in result["starts"])
    assert [start["written"] for start in result["starts"]] == [None, 0, 0]

    with Started(command, out) as server:
        last = server.answers()[-1]["parameters"]
    assert (last["misses"], last["hits"] > 0) == (0, True)
    assert "files of compile caches are at hand" in server.log


def test_a_server_that_hits_nothing_is_not_baked(tmp_path):
    done = cli("bake", "--samples", SAMPLES, "--out", tmp_path / "warm", "--", *app(tmp_path, CHANGE))
    assert done.returncode == 1
    assert "nothing was baked: nothing was hit: 3 files were kept" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "warm").exists()


def test_a_server_whose_frameworks_keep_nothing_says_so(tmp_path):
    command = app(tmp_path, "import os\ndel os.environ['NUMBA_CACHE_DIR']")
    done = cli("bake", "--samples", SAMPLES, "--out", tmp_path / "warm", "--", *command)
    assert done.returncode == 0, done.stderr
    assert "no framework kept anything" in done.stdout
    assert "the proofs" not in done.stdout


def test_tritons_python_models_start_with_what_was_baked(tmp_path):
    out = tmp_path / "warm"
    with triton(tmp_path) as (command, variables):
        bake = ["bake", "--samples", SAMPLES, "--out", out, "--json", "--", *command]
        done = cli(*bake, env=environment(**variables))
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["files"] > 0
        assert [start["written"] for start in result["starts"]] == [None, 0, 0]
        print([{name: start[name] for name in FIGURES} for start in result["starts"]])
        assert read_fingerprint(out).packages["numpy"].startswith("1.")  # of the stub's Python, and not of ours

        with Started(command, out, **variables) as server:
            given = server.programs()
            server.answers()
            assert server.programs() == given
            assert given


def test_what_a_killed_server_leaves_behind_goes_with_the_next_start(tmp_path):
    (tmp_path / "own").mkdir()
    command, out = app(tmp_path), tmp_path / "warm"
    assert cli("bake", "--samples", SAMPLES, "--out", out, "--", *command).returncode == 0
    with Started(command, out, TMPDIR=tmp_path / "own") as killed:
        left = killed.private()
        with Started(command, out, TMPDIR=tmp_path / "own") as other:
            assert left.is_dir()  # the program that has become of its maker holds it still
            kept = other.private()
            killed.process.kill()
            killed.process.wait()
            assert left.is_dir()
            with Started(command, out, TMPDIR=tmp_path / "own"):
                assert not left.exists()
                assert kept.is_dir()


def test_a_server_that_cannot_answer_is_not_baked_and_the_reason_is_told(tmp_path):
    command, code = app(tmp_path), tmp_path / "plain.py"
    code.write_text(code.read_text().replace("digit = self.digits(", "digit = self.nothing("))
    done = cli("bake", "--samples", SAMPLES, "--out", tmp_path / "warm", "--", *command)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("kserve-warmup: nothing was baked: 3 of 3 strata cannot be warmed: ")
    assert "HTTP 500" in last
    assert not (tmp_path / "warm").exists()
