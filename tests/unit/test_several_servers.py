"""A process in which KServe makes its application more than once, or whose host lives on when a server cannot."""

import asyncio
import logging
import signal
import socket
from weakref import WeakValueDictionary

import kserve
import pytest
from fastapi import FastAPI
from kserve.model_server import FASTAPI_APP_IMPORT_STRING
from kserve.protocol.rest.server import RESTServer

from kserve_warmup import SampleSet, WarmupModel, WarmupSettings, signals
from kserve_warmup.capture.capturing import CAPTURE
from kserve_warmup.capture.wiretap import WiretapMiddleware
from kserve_warmup.protocols.bodies import request
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.serving import compat
from kserve_warmup.serving.process import PROCESS


@pytest.fixture(autouse=True)
def _no_model_of_other_tests(monkeypatch):
    monkeypatch.setattr(PROCESS, "models", WeakValueDictionary())


@pytest.fixture
def new_app(monkeypatch):
    """Make KServe's application anew: once it has started, KServe cannot use it for another server."""

    def _new_app():
        monkeypatch.setattr(kserve.model_server, "app", FastAPI())
        return kserve.model_server.app

    return _new_app


@pytest.fixture
def app(new_app):
    return new_app()


@pytest.fixture
def make(tmp_path):
    def _make(name, kind, **settings):
        SampleSet(model=name, source="test", samples=(request("v1", b'{"instances": [[1.0]]}'),)).save(tmp_path / name)
        model = kind(name)
        model.warmup_settings = WarmupSettings(samples=tmp_path / name, **settings)
        model.load()
        return model

    return _make


class Counting(WarmupModel):
    async def predict(self, payload, headers=None):  # async: it is warmed by the server, and not by load()
        self.calls = getattr(self, "calls", 0) + 1
        return {"predictions": [self.calls]}


class Broken(WarmupModel):
    async def predict(self, payload, headers=None):
        raise RuntimeError("the weights are broken")


def create_application(*models):
    """Do what ``ModelServer.start`` does before it serves."""
    server = kserve.ModelServer(registered_models=kserve.ModelRepository())
    server._register_and_check_atleast_one_model_is_ready(list(models))
    for engine in server.servers:
        engine.close()
    RESTServer(FASTAPI_APP_IMPORT_STRING, server.dataplane, server.model_repository_extension, 0).create_application()


async def lifespan(app):
    async with app.router.lifespan_context(app):
        pass


async def test_an_application_that_is_created_again_and_again_warms_its_models_once(app, make, tmp_path, caplog):
    order = []

    async def own(_app):
        order.append("own")
        yield

    first = make("again", Counting, capture_dir=tmp_path / "captured")
    for _ in range(3):
        create_application(first)
        make("other", Counting)
    app.router.lifespan_context = FastAPI(lifespan=own).router.lifespan_context
    create_application(first)
    last = make("last", Counting)
    create_application(last)
    with caplog.at_level(logging.INFO, "kserve.warmup"):
        await lifespan(app)
    assert await first.healthy()
    assert order == ["own"]
    assert sum("again: warming v1 " in line for line in caplog.messages) == 1
    assert [m.cls for m in app.user_middleware].count(WiretapMiddleware) == 1


async def test_a_model_that_the_applications_own_start_makes_keeps_no_other_from_being_warmed(app, make):
    made = [make("early", Counting)]

    async def own(_app):
        made.append(make("late", Counting))
        yield

    app.router.lifespan_context = FastAPI(lifespan=own).router.lifespan_context
    create_application(*made)
    async with app.router.lifespan_context(app):
        assert [await model.healthy() for model in made] == [True, True]
        assert made[0].calls > 1


async def test_a_model_that_has_stopped_with_its_server_is_left_alone_by_the_next(app, new_app, make, tmp_path):
    first = make("m", Counting)
    create_application(first)
    await lifespan(app)
    first.stop()
    first.ready = True  # whatever it says itself
    calls, app = first.calls, new_app()
    report = tmp_path / "report.json"
    second = make("n", Counting, report=report)
    create_application(second)
    await lifespan(app)
    assert await second.healthy()
    assert first.calls == calls
    assert report.exists()  # under its own name: the process has one model


@pytest.mark.parametrize("again", [lambda model: setattr(model, "ready", True), lambda model: model.load()])
def test_a_model_that_is_given_to_another_server_is_warmed_there_anew_before_its_port_opens(again, app, new_app, make):
    async def serve(app):
        assert not await model.healthy()
        async with app.router.lifespan_context(app):
            assert await model.healthy()

    model = make("m", Counting)
    create_application(model)
    asyncio.run(serve(app))
    model.stop()
    again(model)
    calls, app = model.calls, new_app()
    create_application(model)
    asyncio.run(serve(app))  # on a loop of its own
    assert model.calls > calls


async def test_a_host_that_lives_on_is_told_the_code_and_keeps_a_server_with_an_unready_model(app, make, monkeypatch):
    codes = []
    monkeypatch.setattr(signals, "exit_process", codes.append)
    good, broken = make("m", Counting), make("n", Broken)
    create_application(good, broken)
    await lifespan(app)
    assert codes == [1]
    assert await good.healthy()
    assert not await broken.healthy()


async def test_what_one_server_records_is_no_matter_of_the_next(new_app, make, tmp_path):
    new_app()
    create_application(make("recorded", Counting, capture_dir=tmp_path / "one", capture_rate=1))
    CAPTURE.get("recorded").offer(Record("", 0, b'{"instances": [[1]]}'))
    new_app()
    create_application(make("recorded", Counting, capture_dir=tmp_path / "two", capture_rate=1))
    CAPTURE.get("recorded").offer(Record("", 0, b'{"instances": [[2]]}'))
    new_app()
    create_application(make("recorded", Counting))
    assert CAPTURE.get("recorded") is None
    written = {file.parts[-3]: file.read_bytes() for file in tmp_path.rglob("recorded/kserve-warmup-*.jsonl")}
    assert written.keys() == {"one", "two"}
    assert b"[[1]]" in written["one"]
    assert b"[[2]]" in written["two"]


def test_sigterm_as_the_first_process_of_a_container_ends_it_by_the_same_function(monkeypatch):
    codes = []
    monkeypatch.setattr(signals, "exit_process", codes.append)
    reader, writer = socket.socketpair()
    with writer:
        writer.send(bytes([signal.SIGCHLD, signal.SIGTERM]))
    signals._exit_on_sigterm(reader)
    assert codes == [143]


def test_a_workers_fault_ends_its_parent_by_the_same_function_and_is_looked_for_no_more(monkeypatch):
    from kserve_warmup.serving import end

    codes = []
    monkeypatch.setattr(signals, "exit_process", codes.append)

    class Ended:
        exitcode = end.WORKER_FAULT

    assert end.ends_with_its_workers([Ended()])
    assert codes == [1]


@pytest.mark.usefixtures("app")
def test_kserves_interceptor_is_tapped_once_however_often_it_is_asked_for():
    compat.record_requests()
    before = compat.LoggingInterceptor.intercept_service
    compat.record_requests()
    assert compat.LoggingInterceptor.intercept_service is before
