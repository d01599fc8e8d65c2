"""What is written is first tried: a server that started before starts afterwards, on the real tritonserver."""

import json

import pytest
from triton_repository import OUTPUT, Repository, X, sample, tensor, tree, triton

from kserve_warmup.errors import TritonConfigError, WarmupFailedError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.prove import prove
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
        triton(repository)
    assert "\n" not in str(caught.value)
    assert tree(repository.models) == before
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()


def test_a_called_model_that_was_loaded_in_time_by_chance_is_seen(calling, monkeypatch):
    repository = calling(HIDDEN)
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    (repository.models / "scorer").rename(repository.models / "scorer_of_a")
    repository.add("scorer", CONFIG)
    for folder in (repository.models, repository.samples):
        (folder / "router").rename(folder / "zrouter")  # the last one to be loaded
    with pytest.raises(TritonConfigError, match="model scorer: the warm-up of another model calls it"):
        triton(repository, "--loaded-first", "scorer_of_a")
    assert b"model_warmup" not in (repository.models / "zrouter" / "config.pbtxt").read_bytes()


def test_it_is_warmed_where_the_called_model_is_loaded_first(calling, monkeypatch):
    repository = calling("pb.InferenceRequest")
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    result = triton(repository, "--loaded-first", "scorer")
    assert "a trial load ran 3 calls on its instance" in result.stdout
    assert len(parse((repository.models / "router" / "config.pbtxt").read_bytes()).model_warmup) == 1


def test_a_model_whose_code_fails_on_a_recorded_request_is_refused(repository):
    folder = repository.add("m", CONFIG, sample(tensor(1)))
    (folder / "1" / "model.py").write_text(
        "class TritonPythonModel:\n    def execute(self, requests):\n        raise ValueError('no such row')\n"
    )
    before = tree(repository.models)
    with pytest.raises(TritonConfigError, match=r"no such row|crashed with signal") as caught:
        triton(repository)
    assert "--no-prove-load" in str(caught.value)
    assert tree(repository.models) == before


PARTICULAR = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        width = pb.get_input_tensor_by_name(requests[0], "X").as_numpy().shape[1]
        if width > 4:
            raise ValueError(f"no weights for {width} columns")
        return [pb.InferenceResponse([pb.Tensor("Y", np.zeros((1, 1), np.float32))]) for _ in requests]
"""


@pytest.fixture
def particular(repository):
    """A model that refuses what its configuration allows: more than four columns."""

    def _particular(*widths):
        config = OUTPUT + X.replace("[ 4 ]", "[ -1 ]") + "max_batch_size: 8\n"
        folder = repository.add("m", config, *(sample(tensor(1, w), weight=share) for w, share in widths))
        (folder / "1" / "model.py").write_text(PARTICULAR)
        return folder / "config.pbtxt"

    return _particular


def test_what_the_model_itself_refuses_is_left_out_with_its_share(particular, repository):
    config = particular((4, 0.96), (5, 0.03), (6, 0.01))
    (found,) = json.loads(triton(repository, "--json").stdout)["models"]
    assert [block.name for block in parse(config.read_bytes()).model_warmup] == ["01 batch 1 X[4]"]
    assert "left out 2 of 3 blocks (4.00% of the traffic) that failed in a trial load" in found["warning"]
    assert found["coverage"] == pytest.approx(0.96)
    assert found["trial_load"]["ran"].endswith("calls on its instance")
    assert triton(repository, "--check").exit_code == 0
    with TritonServer(repository.models) as server:
        server.wait_ready()


def test_more_of_it_than_may_be_left_out_is_an_error(particular, repository):
    config = particular((4, 0.94), (5, 0.06))
    before = config.read_bytes()
    with pytest.raises(TritonConfigError, match=r"no weights for 5 columns|crashed with signal"):
        triton(repository)
    assert config.read_bytes() == before


def test_what_does_not_load_without_blocks_either_proves_nothing_and_is_written(repository, monkeypatch):
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    repository.add("m", CONFIG + "instance_group [ { kind: KIND_CPU count: 2 } ]\n", sample(tensor(1)))
    lacking = CONFIG.replace('"python"', '"no_such_backend"')
    repository.add("lacking", lacking, sample(tensor(1)))
    broken = repository.add("broken", CONFIG, sample(tensor(1)))
    (broken / "1" / "model.py").write_text("import no_such_package\n")
    models = {m["model"]: m for m in json.loads(triton(repository, "--json").stdout)["models"]}
    assert models["m"]["trial_load"] == {"ran": "3 calls on each of 2 instances"}
    for name, why in (("lacking", "no_such_backend"), ("broken", "no_such_package")):
        assert "without its blocks it does not load there either" in models[name]["trial_load"]["not_proved"]
        assert why in models[name]["trial_load"]["not_proved"]
        assert parse((repository.models / name / "config.pbtxt").read_bytes()).model_warmup


def test_a_python_model_without_its_file_is_not_waited_for(repository):
    folder = repository.add("m", CONFIG, sample(tensor(1)))
    (folder / "1" / "model.py").unlink()
    (found,) = json.loads(triton(repository, "--json").stdout)["models"]
    assert "model file not found" in found["trial_load"]["not_proved"]
    assert parse((folder / "config.pbtxt").read_bytes()).model_warmup


def test_no_trial_where_none_is_wanted(repository):
    folder = repository.add("m", CONFIG, sample(tensor(1)))
    (folder / "1" / "model.py").write_text("class TritonPythonModel: execute = None")  # fails with the blocks
    assert triton(repository, "--no-prove-load").exit_code == 0
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
        triton(repository, "--prove-load")


def test_a_string_correlation_id_loads_on_a_server_before_25_01(repository, monkeypatch):
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    control = "control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ]"
    config = CONFIG + f"sequence_batching {{ control_input [ {{ name: 'ID' {control} }} ] }}\n"
    repository.add("m", config, sample(tensor(1)), names=("X", "ID"))
    result = triton(repository, "--triton-version", "24.10")
    assert "a trial load ran 1 call on its instance" in result.stdout


COMPLETES = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input(dict(name="X", data_type="TYPE_FP32", dims=[4]))
        config.add_output(dict(name="Y", data_type="TYPE_FP32", dims=[1]))
        config.set_max_batch_size(int("4"))
        config.set_dynamic_batching()
        return config
"""


def completing(repository):
    """Add a model that completes its own configuration; return its folder."""
    folder = repository.add("m", 'backend: "python"  # all else is told by the model\n', sample(tensor(1)))
    text = (folder / "1" / "model.py").read_text()
    (folder / "1" / "model.py").write_text(text.replace("class TritonPythonModel:", COMPLETES))
    return folder


def test_inputs_that_the_model_tells_are_asked_of_a_disposable_server(repository, monkeypatch):
    monkeypatch.setenv("CALLS", repository.env["CALLS"])
    config = completing(repository) / "config.pbtxt"
    result = triton(repository)
    assert "a trial load ran 6 calls on its instance" in result.stdout  # batches of 1 and 4
    assert config.read_text().startswith('backend: "python"  # all else is told by the model\n')
    assert [block.batch_size for block in parse(config.read_bytes()).model_warmup] == [1, 4]
    assert triton(repository, "--check").exit_code == 0


def test_inputs_are_asked_of_a_server_that_runs_the_model(repository):
    config = completing(repository) / "config.pbtxt"
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        result = triton(repository, "--no-prove-load", "--server", server.http_url)
    assert result.exit_code == 0
    assert [block.batch_size for block in parse(config.read_bytes()).model_warmup] == [1, 4]


def test_a_servers_version_says_what_it_takes(repository):
    control = "control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ]"
    repository.add(
        "m", CONFIG + f"sequence_batching {{ control_input [ {{ name: 'ID' {control} }} ] }}\n", sample(tensor(1))
    )
    with TritonServer(repository.models, env=repository.env) as server:  # 2.51, which takes strings
        server.wait_ready()
        with pytest.raises(TritonConfigError, match="--triton-version"):
            triton(repository, "--no-prove-load")
        assert triton(repository, "--no-prove-load", "--server", server.http_url).exit_code == 0


BY_INSTANCE = """
import os
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_instance_name"]

    def execute(self, requests):
        with open(os.path.join(os.environ["CALLS"], self.name), "a") as file:
            file.write(f"{len(requests)}\\n")
        return [pb.InferenceResponse([pb.Tensor("Y", np.zeros((1, 1), np.float32))]) for _ in requests]
"""


def test_each_instance_is_proved_to_have_run_every_block(repository):
    config = CONFIG + "instance_group [ { kind: KIND_CPU count: 3 } ]\n"
    folder = repository.add("m", config, sample(tensor(1), weight=0.7), sample(tensor(2), weight=0.3))
    (folder / "1" / "model.py").write_text(BY_INSTANCE)
    repository.generate(count=2)
    with TritonServer(repository.models, ["--log-verbose=1"], env=repository.env) as server:
        server.wait_ready()
        (proof,) = prove(repository.models, server.http_url, ["m"], server.log)
    assert str(proof.instances) == "4 calls on each of 3 instances"
    made = {file.name: file.read_text().split() for file in repository.calls_folder.iterdir()}
    assert made == {f"m_0_{n}": ["1", "1", "2", "2"] for n in range(3)}
    assert proof.instances.ran.keys() == made.keys()


def test_a_sum_that_is_right_does_not_prove_an_instance_that_ran_nothing(repository):
    folder = repository.add("m", CONFIG + "instance_group [ { kind: KIND_CPU count: 2 } ]\n", sample(tensor(1)))
    (folder / "1" / "model.py").write_text(BY_INSTANCE)
    repository.generate(count=2)
    with TritonServer(repository.models, ["--log-verbose=1"], env=repository.env) as server:
        server.wait_ready()
        log = "\n".join(line for line in server.log.splitlines() if "instance m_0_1 is running" not in line)
        with pytest.raises(WarmupFailedError, match="2 calls on m_0_0, not 2 on each of 2"):
            prove(repository.models, server.http_url, ["m"], log)
