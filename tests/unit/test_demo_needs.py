"""What the demo says when something that torch's models need is missing."""

import sys
import venv

import pytest

from kserve_warmup.demo import needs
from kserve_warmup.demo.run import _clear
from kserve_warmup.errors import WarmupError


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
