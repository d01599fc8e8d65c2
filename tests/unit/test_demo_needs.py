"""What the demo says when something that torch's models need is missing."""

import sys
import venv

import pytest

from kserve_warmup.demo import needs
from kserve_warmup.demo.demonstration import Options, _clear, _copy, left_out
from kserve_warmup.errors import WarmupError
from kserve_warmup.files import shipped


def test_the_models_that_run_by_default_need_no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as good as not installed

    needs.check_needs(["digits_mlp", "digits_knn", "silero_vad", "digits_forest"])


@pytest.mark.parametrize("model", ["silero_vad_jit", "digits_cnn"])
def test_a_model_of_torch_says_how_to_get_the_build_without_cuda(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(
        WarmupError, match=f"{model} needs torch: run `make torch-env`, or pip install .* --extra-index-url"
    ):
        needs.check_needs(["silero_vad", model])


def test_an_environment_without_torch_is_known_for_one(tmp_path):
    venv.create(tmp_path, with_pip=False)

    assert not needs.has_torch(tmp_path / "bin" / "python3")


def test_torch_compile_says_which_compiler_it_does_not_find(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")

    with pytest.raises(WarmupError, match="no C\\+\\+ compiler 'no-such-compiler': install g\\+\\+"):
        needs.check_compiler()


@pytest.mark.parametrize("odd", ["a file", "a link"])
def test_the_demo_clears_its_own_copies_away_and_nothing_else(tmp_path, odd):
    repository = tmp_path / "triton-warm"
    (repository / "m").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text("old")
    _clear(repository, "m")
    assert not repository.exists()
    (tmp_path / "mine" / "m").mkdir(parents=True)
    if odd == "a link":
        repository.symlink_to(tmp_path / "mine")
    else:
        (repository / "m").mkdir(parents=True)
        (repository / "notes").write_text("mine")
    with pytest.raises(WarmupError, match="triton-warm holds something else than the demo's m: give another --out"):
        _clear(repository, "m")
    assert (repository / "m").is_dir()


def test_without_a_tritonserver_the_demo_says_so_and_measures_kserve(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KSERVE_WARMUP_TRITON_ENV")
    options = Options(tmp_path, tmp_path, models=("digits_mlp", "silero_vad"))

    assert options.servers("digits_mlp") == ("kserve",)
    assert left_out(options).startswith("Not on Triton: digits_mlp, silero_vad. No tritonserver on PATH: name ")
    monkeypatch.setenv("KSERVE_WARMUP_TRITON_ENV", str(tmp_path))
    with pytest.raises(WarmupError, match="no tritonserver in"):
        options.servers("digits_mlp")


def test_the_demo_runs_copies_and_leaves_the_repository_that_it_is_given_as_it_is(tmp_path):
    options = Options(shipped("model_repository"), tmp_path, models=("digits_mlp",))
    before = {file: file.stat().st_mtime_ns for file in options.repository.rglob("*")}

    _copy(options)
    _copy(options)

    assert {file: file.stat().st_mtime_ns for file in options.repository.rglob("*")} == before
    assert (tmp_path / "models" / "digits_mlp" / "1" / "weights.npz").is_file()
    (tmp_path / "models" / "mine").mkdir()
    with pytest.raises(
        WarmupError, match=r"models holds something else than the demo's digits_mlp, .*give another --out"
    ):
        _copy(options)
