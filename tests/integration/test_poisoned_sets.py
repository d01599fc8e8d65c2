"""Sample sets made by somebody hostile, before real servers: nothing but inference of the model at hand is sent."""

import asyncio
import subprocess
import sys
from dataclasses import replace

import pytest
from sample_sets import poisoned, samples, save
from triton_repository import OUTPUT, Repository, X, sample, tensor

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Target, send
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.transports.grpc import GrpcTransport
from kserve_warmup.transports.rest import RestTransport
from kserve_warmup.triton.tritonserver import TritonServer

BATCHES = "max_batch_size: 8\n"
UNLOAD = "/v2/repository/models/neighbour/unload"
PATHS = [UNLOAD, f"{UNLOAD}/../../m/load", "/v2/models/neighbour/infer", "/v2/models/{model}/../../repository/index"]


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    """A tritonserver in explicit mode with a model and its neighbour."""
    made = Repository(tmp_path_factory.mktemp("repository"))
    for name in ("m", "neighbour"):
        made.add(name, OUTPUT + X + BATCHES)
    arguments = ["--model-control-mode=explicit", "--load-model=m", "--load-model=neighbour"]
    with TritonServer(made.models, arguments, env=made.env) as server:
        server.wait_ready(model="neighbour")
        yield server, made


def command(name, server, folder, *options):
    """Run a command on a set before a server, and return how it ended."""
    arguments = [name, server, "--samples", folder, *options]
    call = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["gate", "verify"])
@pytest.mark.parametrize("path", PATHS)
def test_a_poisoned_path_is_one_line_and_triton_s_models_stay(triton, tmp_path, name, path):
    server, repository = triton
    folder = poisoned(SampleSet("m", (sample(tensor(), protocol="v2"),)).save(tmp_path / "set"), path)

    done = command(name, server.http_url, folder)

    assert done.returncode == 2
    assert f"path {path!r}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert server.is_ready("m")
    assert server.is_ready("neighbour")
    assert repository.calls("neighbour") == []


@pytest.mark.parametrize("name", ["gate", "verify"])
def test_a_model_s_name_commands_nothing_either(triton, tmp_path, name):
    server, _ = triton
    folder = SampleSet("../repository/models/neighbour/unload#", (sample(tensor(), protocol="v2"),)).save(
        tmp_path / "s"
    )

    done = command(name, server.http_url, folder)

    assert done.returncode == 2
    assert "no server has a model called" in done.stderr
    assert server.is_ready("neighbour")


def test_what_was_not_read_from_a_set_is_checked_when_it_is_sent(triton):
    server, _ = triton
    made = replace(sample(tensor(), protocol="v2"), path=UNLOAD)

    with pytest.raises(WarmupError, match="is no inference endpoint"):
        send(made, Target(server.http_url, "m"))
    with pytest.raises(WarmupError, match="is no inference endpoint"):
        asyncio.run(RestTransport(server.http_url, "m", timeout=30).send(made))
    assert server.is_ready("neighbour")


def test_grpc_infers_with_the_model_at_hand_whatever_path_and_name_the_sample_has(triton):
    server, repository = triton
    good = sample(tensor(), protocol="grpc")
    named = replace(
        good, path="/inference.GRPCInferenceService/RepositoryModelUnload", body=good.body + b"\x0a\x09neighbour"
    )

    send(named, Target(server.grpc_url, "m"))

    assert len(repository.calls("m")) == 1
    assert repository.calls("neighbour") == []
    assert server.is_ready("neighbour")


def test_a_grpc_body_with_an_open_end_takes_in_no_model_s_name(triton, tmp_path):
    server, repository = triton
    good = sample(tensor(), protocol="grpc")
    body = good.body + b"\x0a\x09neighbour" + b"\xfa\x3e\x03"  # an unknown field that swallows `\n`, a length and `m`

    async def over_grpc():
        transport = GrpcTransport(server.grpc_url, "m", timeout=30)
        with pytest.raises(WarmupError, match="cut off"):
            await transport.send(replace(good, body=body))
        await transport.close()

    asyncio.run(over_grpc())
    folder = poisoned(SampleSet("m", (good,)).save(tmp_path / "set"), good.path, body)
    for name in ("gate", "verify"):
        done = command(name, server.http_url, folder, "--grpc", server.grpc_url)
        assert done.returncode == 2
        assert "the message is cut off" in done.stderr
    assert repository.calls("neighbour") == []


def test_names_with_signs_are_found_by_triton_as_they_are_written(tmp_path):
    repository = Repository(tmp_path)
    repository.add("a+b@1.0", OUTPUT + X + BATCHES)
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready(model="a+b@1.0")
        send(sample(tensor(), protocol="v2"), Target(server.http_url, "a+b@1.0"))


def test_a_poisoned_set_keeps_a_kserve_model_from_starting_and_the_last_line_says_why(start, tmp_path):
    folder = poisoned(save(tmp_path / "set", samples("v2", rows=(1,))), UNLOAD)

    server = start("OwnLoad", samples=folder)

    assert server.process.wait(60) == 1
    assert f"path {UNLOAD!r} is no inference endpoint" in server.log.strip().splitlines()[-1]


def test_a_kserve_server_s_neighbour_stays(start, tmp_path):
    server = start("Plain,LoadModel", enabled="false")
    for model in ("plain", "loadmodel"):
        server.wait_ready(model)
    folder = poisoned(
        save(tmp_path / "set", samples("v2", rows=(1,)), "plain"), UNLOAD.replace("neighbour", "loadmodel")
    )

    for name in ("gate", "verify"):
        done = command(name, f"http://127.0.0.1:{server.http}", folder)
        assert done.returncode == 2
        assert "is no inference endpoint" in done.stderr
    assert server.get("/v2/models/loadmodel/ready")[0] == 200
