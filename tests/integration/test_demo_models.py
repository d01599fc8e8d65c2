"""The demo's models are real, and the same on both servers."""

import json
from pathlib import Path

import numpy as np
import pytest

from kserve_warmup.demo.demo_servers import kserve_server
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.inputs import digits, speech
from kserve_warmup.demo.predictors import load_core
from kserve_warmup.demo.recordings import MODELS, record, request
from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Target, send, wait_ready
from kserve_warmup.sampling.reader import read
from kserve_warmup.triton.disposable import caches
from kserve_warmup.triton.tritonserver import TritonServer

REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.fixture(scope="module", autouse=True)
def _weights():
    fetch(REPOSITORY)


@pytest.fixture(scope="module")
def kserve(_weights):
    with kserve_server(REPOSITORY, list(MODELS)) as server:
        for model in MODELS:
            wait_ready(Target(server.http_url, model), alive=server.alive)
        yield server


@pytest.fixture(scope="module")
def triton(_weights, tmp_path_factory):
    by_name = ["--model-control-mode=explicit", *(f"--load-model={model}" for model in MODELS)]  # not torch's
    with TritonServer(REPOSITORY, by_name, env=caches(tmp_path_factory.mktemp("caches"))) as server:
        for model in MODELS:
            server.wait_ready(model=model)
        yield server


def inputs_of(model, rows):
    if model != "silero_vad":
        return {"image": digits()[0][:rows]}
    state = np.random.default_rng(0).normal(size=(rows, 2, 128)).astype(np.float32)
    return {"audio": speech()[20 : 20 + rows], "state": state}


def outputs(answer):
    return {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in json.loads(answer)["outputs"]}


@pytest.mark.parametrize("model", ["digits_mlp", "digits_knn", "digits_forest"])
def test_a_digit_model_reads_digits_that_it_has_not_learned(model):
    images, labels = digits()

    (answer,) = load_core(REPOSITORY / model / "1")({"image": images}).values()

    read_as = answer[:, 0] if answer.shape[1] == 1 else answer.argmax(axis=1)
    assert np.mean(read_as == labels) > 0.9


def test_silero_vad_hears_speech_where_there_is_some_and_none_before():
    listen = load_core(REPOSITORY / "silero_vad" / "1")
    state, heard = np.zeros((1, 2, 128), np.float32), []

    for chunk in speech():
        answer = listen({"audio": chunk[None], "state": state})
        state = answer["next_state"]
        heard.append(float(answer["speech"][0, 0]))

    assert max(heard[:6]) < 0.1
    assert np.median(heard[10:80]) > 0.9


def test_chunks_of_speech_overlap_by_the_context():
    chunks = speech()

    assert chunks.shape[1:] == (576,)
    np.testing.assert_array_equal(chunks[1:, :64], chunks[:-1, -64:])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("protocol", ["v2", "v2-binary"])
def test_kserve_and_triton_answer_as_the_model_does(kserve, triton, model, protocol):
    inputs = inputs_of(model, 3)
    expected = load_core(REPOSITORY / model / "1")(inputs)
    sample = request(protocol, **inputs)

    # each with the decimals that its JSON gives
    for server in (kserve, triton):
        answer = outputs(send(sample, Target(server.http_url, model)))
        assert answer.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(answer[name], array, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_grpc_and_v1_reach_the_models_too(kserve, model):
    inputs = inputs_of(model, 2)
    expected = load_core(REPOSITORY / model / "1")(inputs)

    send(request("grpc", **inputs), Target(kserve.grpc_url, model))  # raises unless it is answered
    answer = json.loads(send(request("v1", **inputs), Target(kserve.http_url, model)))

    for name, array in expected.items():
        given = np.array([row[name] for row in answer["predictions"]])
        np.testing.assert_allclose(given, array, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_recorded_traffic_holds_what_was_answered_and_is_measured_with_other_requests(kserve, tmp_path, name):
    recording = record(MODELS[name], kserve, tmp_path / "deep" / "traffic.jsonl")

    recorded = list(read([recording.traffic]))
    assert len(recorded) == recording.requests
    assert {sample.protocol for sample in recorded} == set(MODELS[name].protocols)
    assert {sample.batch for sample in recorded} == set(MODELS[name].batches)
    assert recording.measured[0].batch == 1
    assert not {s.id for s in recorded if s.batch == 1} & {recording.measured[0].id}


def test_a_server_that_cannot_start_says_its_last_words():
    with (
        kserve_server(REPOSITORY, ["no_such_model"]) as server,
        pytest.raises(WarmupError, match=r"core\.py is missing"),
    ):
        wait_ready(Target(server.http_url, "no_such_model"), alive=server.alive)
