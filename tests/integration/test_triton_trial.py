"""What is written is first tried: a server that started before starts afterwards, on the real tritonserver."""

import json

import pytest
import typer
from triton_repository import OUTPUT, Repository, X, sample, tensor
from typer.testing import CliRunner

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.repository import plan_repository
from kserve_warmup.triton.trial import prove_load
from kserve_warmup.triton.tritonserver import TritonServer

CONFIG = OUTPUT + X + "max_batch_size: 8\n"
CALLER = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        Request = {request}
        given = [[pb.get_input_tensor_by_name(r, "X")] for r in requests]
        asked = [Request(model_name="scorer", requested_output_names=["Y"], inputs=g).exec() for g in given]
        failed = [a.error().message() if a.has_error() else None for a in asked]
        return [
            pb.InferenceResponse(error=pb.TritonError(f)) if f
            else pb.InferenceResponse([pb.get_output_tensor_by_name(a, "Y")])
            for a, f in zip(asked, failed)
        ]
"""
SLOW_TO_LOAD = """
    def initialize(self, args):
        import time
        time.sleep(3)
"""
HIDDEN = "vars(pb)['Inference' + 'Request']"


def command(repository, *arguments):
    from kserve_warmup.cli.triton import run

    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [str(a) for a in (repository.models, "--samples", repository.samples, *arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


@pytest.fixture
def calling(repository):
    """A repository with a model that calls another, which is the last to be loaded; ``router`` is to be written."""

    def _calling(request):
        router = repository.add("router", CONFIG, sample(tensor(1)))
        (router / "1" / "model.py").write_text(CALLER.replace("{request}", request))
        scorer = repository.add("scorer", CONFIG)
        with (scorer / "1" / "model.py").open("a") as file:
            file.write(SLOW_TO_LOAD)
        return repository

    return _calling


@pytest.mark.parametrize("request_class", ["pb.InferenceRequest", HIDDEN], ids=["in plain words", "in hidden ones"])
def test_a_model_that_calls_another_is_refused_and_the_server_starts(calling, request_class, monkeypatch):
    repository = calling(request_class)
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    before = tree(repository.models)
    with pytest.raises(TritonConfigError, match="--loaded-first") as caught:
        command(repository)
    assert "\n" not in str(caught.value)
    assert tree(repository.models) == before
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()


def test_it_is_warmed_where_the_called_model_is_loaded_first(calling, monkeypatch):
    repository = calling("pb.InferenceRequest")
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    result = command(repository, "--loaded-first", "scorer")
    assert "a trial load ran 3 calls on its instance" in result.stdout
    assert len(parse((repository.models / "router" / "config.pbtxt").read_bytes()).model_warmup) == 1


def test_a_model_whose_code_fails_on_a_recorded_request_is_refused(repository):
    folder = repository.add("m", CONFIG, sample(tensor(1)))
    (folder / "1" / "model.py").write_text(
        "class TritonPythonModel:\n    def execute(self, requests):\n        raise ValueError('no such row')\n"
    )
    before = tree(repository.models)
    with pytest.raises(TritonConfigError, match=r"no such row|crashed with signal") as caught:
        command(repository)
    assert "--no-prove-load" in str(caught.value)
    assert tree(repository.models) == before


def test_what_does_not_load_without_blocks_either_proves_nothing_and_is_written(repository, monkeypatch):
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    repository.add("m", CONFIG + "instance_group [ { kind: KIND_CPU count: 2 } ]\n", sample(tensor(1)))
    lacking = CONFIG.replace('"python"', '"no_such_backend"')
    repository.add("lacking", lacking, sample(tensor(1)))
    broken = repository.add("broken", CONFIG, sample(tensor(1)))
    (broken / "1" / "model.py").write_text("import no_such_package\n")
    models = {m["model"]: m for m in json.loads(command(repository, "--json").stdout)["models"]}
    assert models["m"]["trial_load"] == {"ran": "3 calls on each of 2 instances"}
    for name, why in (("lacking", "no_such_backend"), ("broken", "no_such_package")):
        assert "without its blocks it does not load there either" in models[name]["trial_load"]["not_proved"]
        assert why in models[name]["trial_load"]["not_proved"]
        assert parse((repository.models / name / "config.pbtxt").read_bytes()).model_warmup


def test_no_trial_where_none_is_wanted(repository):
    folder = repository.add("m", CONFIG, sample(tensor(1)))
    (folder / "1" / "model.py").write_text("class TritonPythonModel: execute = None")  # fails with the blocks
    assert command(repository, "--no-prove-load").exit_code == 0
    assert parse((folder / "config.pbtxt").read_bytes()).model_warmup


def test_a_server_that_does_not_run_here_proves_nothing(repository, monkeypatch):
    repository.add("m", CONFIG, sample(tensor(1)))
    monkeypatch.setenv("TRITONSERVER", "/bin/false")
    trial = prove_load(repository.models, plan_repository(repository.models, repository.samples, [], Options()).models)
    assert "ended with code 1" in trial.unproved["m"]


def test_a_trial_that_was_asked_for_needs_a_server(repository, monkeypatch):
    repository.add("m", CONFIG, sample(tensor(1)))
    monkeypatch.setenv("TRITONSERVER", "/no/such/server")
    from kserve_warmup.errors import WarmupError

    with pytest.raises(WarmupError, match="/no/such/server"):
        command(repository, "--prove-load")


def test_a_string_correlation_id_loads_on_a_server_before_25_01(repository, monkeypatch):
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    control = "control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ]"
    config = CONFIG + f"sequence_batching {{ control_input [ {{ name: 'ID' {control} }} ] }}\n"
    repository.add("m", config, sample(tensor(1)), names=("X", "ID"))
    result = command(repository, "--triton-version", "24.10")
    assert "a trial load ran 1 call on its instance" in result.stdout
