"""The models that need the extra torch: ``make test-torch``."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.demo.demonstration import Options, left_out
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.inputs import digits, speech
from kserve_warmup.demo.predictors import load_core
from kserve_warmup.triton.disposable import caches
from kserve_warmup.triton.tritonserver import find_tritonserver

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "kserve_warmup", "demo", "--models=silero_vad_jit,digits_cnn", "--requests=4"]
    done = subprocess.run([*command, f"--out={out}", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, DemoResult.from_json(done.stdout)


def test_silero_vads_jit_is_the_network_that_its_onnx_model_is():
    fetch(REPOSITORY)
    state = np.random.default_rng(0).normal(size=(3, 2, 128)).astype(np.float32)
    inputs = {"audio": speech()[20:23], "state": state}

    onnx, jit = (
        load_core(folder)(inputs) for folder in (REPOSITORY / "silero_vad" / "1", REPOSITORY / "silero_vad_jit" / "1")
    )

    assert jit.keys() == onnx.keys()
    for name, array in onnx.items():
        np.testing.assert_allclose(jit[name], array, rtol=1e-3, atol=1e-5)


def test_the_compiled_network_reads_digits_that_it_has_not_learned(tmp_path, monkeypatch):
    for name, folder in caches(tmp_path).items():
        monkeypatch.setenv(name, folder)
    images, labels = digits()

    answer = load_core(REPOSITORY / "digits_cnn" / "1")({"image": images})["probabilities"]

    assert np.mean(answer.argmax(axis=1) == labels) > 0.9
    assert list(Path(caches(tmp_path)["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.so"))


@pytest.mark.parametrize("model", ["silero_vad_jit", "digits_cnn"])
def test_both_servers_run_it_cold_and_warm(demo, model):
    cells = [(c.server, c.scenario) for c in demo[1].cells if c.model == model]

    assert cells == [("kserve", "cold"), ("kserve", "warm"), ("triton", "cold"), ("triton", "warm")]


@pytest.mark.parametrize("model", ["silero_vad_jit", "digits_cnn"])
def test_the_warm_up_covers_its_traffic(demo, model):
    report = demo[1].cell(model, "kserve", "warm").starts[0].warmup

    assert report["coverage"] + report["unsteady"] == pytest.approx(1)
    assert not any(stratum["error"] for stratum in report["strata"])


def test_the_committed_repository_has_the_warm_up_that_the_demo_generates(demo):
    generated, committed = demo[0] / "digits_cnn" / "triton-warm" / "digits_cnn", REPOSITORY / "digits_cnn"

    def config(folder):  # the marker line also tells sample sets apart by when they were made
        return [line for line in (folder / "config.pbtxt").read_text().splitlines() if ">>> kserve-warmup" not in line]

    assert config(committed) == config(generated)
    assert {f.name for f in (committed / "warmup").iterdir()} == {f.name for f in (generated / "warmup").iterdir()}


def test_without_torch_in_tritons_environment_the_demo_says_so_and_leaves_triton_out(tmp_path, monkeypatch):
    monkeypatch.setenv("KSERVE_WARMUP_TRITON_ENV", str(_without_torch(tmp_path)))
    options = Options(REPOSITORY, tmp_path, models=("silero_vad", "silero_vad_jit"))

    assert (options.servers("silero_vad"), options.servers("silero_vad_jit")) == (("kserve", "triton"), ("kserve",))
    assert left_out(options) == (
        f"Not on Triton: silero_vad_jit. {tmp_path}/bin/python3 has no torch: run `make torch-env`."
    )


def _without_torch(folder):
    """Make an environment with the same tritonserver and nothing else."""
    server = find_tritonserver().wheel
    assert server is not None
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    (packages / "pytriton").symlink_to(server.parent)
    return folder


def test_the_report_names_the_version_of_torch(demo):
    assert demo[1].versions["torch"].startswith("2.")
    assert json.loads((demo[0] / "result.json").read_text())["versions"] == demo[1].versions
