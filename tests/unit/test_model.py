"""WarmupModel without a server: what a load does, who may start one, what is pickled."""

import asyncio
import pickle
import threading

import pytest
from kserve.errors import ModelNotReady

from kserve_warmup import SampleSet, WarmupError, WarmupModel, WarmupSettings
from kserve_warmup.protocols.bodies import request
from kserve_warmup.serving.lifecycle import lifecycle_of


@pytest.fixture
def settings(tmp_path):
    made = (request("v1", b'{"instances": [[1.0, 2.0]]}'),)
    SampleSet(model="m", source="test", samples=made).save(tmp_path / "set")
    return WarmupSettings(samples=tmp_path / "set", max_calls=200)


class Doubler(WarmupModel):
    limits = ()

    def __init__(self, name, settings):
        super().__init__(name)
        self.warmup_settings = settings
        self.cache = {}
        self.seen = []
        self.ready_while_loading = None

    def load(self):
        self.handle = threading.Lock()  # like a session of ONNX Runtime: cannot be pickled
        self.cache["handle"] = self.handle
        self.ready = True
        self.ready_while_loading = self.ready
        return self.ready

    def predict(self, payload, headers=None):
        self.seen.append((self.ready, headers.get("x-kserve-warmup")))
        return {"predictions": [[2 * v for v in row] for row in payload["instances"]]}


def test_load_warms_a_model_whose_own_load_sets_ready(settings):
    model = Doubler("m", settings)
    assert not model.ready
    assert model.load() is True
    assert model.ready
    assert all(stratum.warmed for stratum in model.warmup_report.strata)
    assert len(model.seen) == model.warmup_report.calls
    assert set(model.seen) == {(True, "true")}
    assert model.ready_while_loading


def test_a_loaded_model_is_registered_by_kserve_but_not_healthy_before_a_server_has_warmed_it(settings):
    model = Doubler("m", settings)
    model.load()
    assert model.ready
    assert not asyncio.run(model.healthy())


def test_load_works_inside_a_running_loop_and_leaves_it_usable(settings):
    async def main():
        model = Doubler("m", settings)
        assert model.load()
        response, _ = await model({"instances": [[3.0]]}, headers={})
        return response

    assert asyncio.run(main()) == {"predictions": [[6.0]]}


def test_a_load_that_reports_no_success_is_not_warmed(settings):
    class Refuses(Doubler):
        def load(self):
            return False

    model = Refuses("m", settings)
    assert model.load() is False
    assert not model.ready
    assert model.warmup_report is None


class Weights:
    """A mixin that knows nothing of the warm-up, as teams share them."""

    def load(self):
        self.handle = threading.Lock()
        self.ready = True
        return True


class WithMixin(Weights, WarmupModel):
    def __init__(self, name, settings):
        super().__init__(name)
        self.warmup_settings = settings
        self.seen = []

    def predict(self, payload, headers=None):
        self.seen.append(payload)
        return {"predictions": payload["instances"]}


def test_a_load_that_a_mixin_brings_is_warmed_and_what_it_made_is_not_pickled(settings):
    model = WithMixin("m", settings)
    assert model.load()
    assert len(model.seen) == model.warmup_report.calls > 0
    copy = pickle.loads(pickle.dumps(model))
    assert not copy.ready
    assert not hasattr(copy, "handle")
    assert copy.load()


def test_an_error_in_load_is_raised_as_it_is_and_a_second_try_may_succeed(settings):
    class Flaky(Doubler):
        attempts = 0

        def load(self):
            Flaky.attempts += 1
            if Flaky.attempts == 1:
                raise OSError("no such weights")
            return super().load()

    model = Flaky("m", settings)
    with pytest.raises(OSError, match="no such weights"):
        model.load()
    assert not model.ready
    assert model.load()
    assert model.ready


def test_super_load_in_a_chain_of_subclasses_warms_once(settings):
    class Child(Doubler):
        def load(self):
            super().load()
            self.extra = 3
            return True

        def predict(self, payload, headers=None):
            assert self.extra == 3  # the whole chain is loaded before the first warm-up request
            return super().predict(payload, headers)

    model = Child("m", settings)
    assert model.load()
    assert len(model.seen) == model.warmup_report.calls


def test_whoever_asks_while_a_load_is_under_way_is_told_not_ready_and_starts_no_second_one(settings):
    entered, release = threading.Event(), threading.Event()
    loads = []

    class Slow(Doubler):
        def load(self):
            loads.append(1)
            self.ready = True
            entered.set()
            release.wait(20)
            return True

    model = Slow("m", settings)
    thread = threading.Thread(target=model.load)
    thread.start()
    assert entered.wait(20)
    assert not asyncio.run(model.healthy())
    with pytest.raises(ModelNotReady) as caught:
        model.load()
    assert "loading or warming" in caught.value.reason
    release.set()
    thread.join()
    assert model.ready
    assert loads == [1]


def test_a_reload_warms_again(settings):
    model = Doubler("m", settings)
    model.load()
    before = len(model.seen)
    model.stop()
    assert not model.ready
    model.load()
    assert model.ready
    assert len(model.seen) > before


def test_ready_can_be_taken_back_and_given_again_by_the_model_itself():
    model = Doubler("m", WarmupSettings(on_missing_samples="ignore"))
    model.load()
    assert asyncio.run(model.healthy())
    model.ready = False
    assert not asyncio.run(model.healthy())
    model.ready = True
    assert asyncio.run(model.healthy())


def test_what_load_made_is_not_pickled_and_the_copy_is_cold(settings):
    model = Doubler("m", settings)
    model.load()
    copy = pickle.loads(pickle.dumps(model))
    assert not copy.ready
    assert not hasattr(copy, "handle")
    assert copy.cache == {}
    assert copy.seen == []
    assert copy.name == "m"
    assert copy.load()
    assert copy.ready


def test_what_load_made_is_not_pickled_while_the_load_is_under_way_either(settings):
    class Pickled(Doubler):
        def predict(self, payload, headers=None):
            self.copied = lifecycle_of(self).made_by_load.without(self.__dict__)
            return super().predict(payload, headers)

    model = Pickled("m", settings)
    model.load()
    assert "handle" not in model.copied
    assert "copied" not in model.copied
    assert model.copied["cache"] == {}


def test_attributes_set_outside_of_load_are_pickled(settings):
    model = Doubler("m", settings)
    model.load()
    model.threshold = 0.5
    assert pickle.loads(pickle.dumps(model)).threshold == 0.5


def test_an_async_model_waits_for_the_serving_loop(settings):
    class Async(Doubler):
        async def predict(self, payload, headers=None):
            return Doubler.predict(self, payload, headers)

    model = Async("m", settings)
    assert model.load()
    assert model.seen == []
    assert model.ready  # or KServe would not register it
    assert not asyncio.run(model.healthy())


def test_an_async_load_is_refused_when_the_class_is_made():
    with pytest.raises(WarmupError, match="async load_model"):

        class AsyncLoad(WarmupModel):
            async def load(self):
                return True


def test_an_un_awaited_coroutine_is_no_success_and_left_to_the_loop_that_serves(settings):
    def traced(function):
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    class Decorated(Doubler):
        @traced
        async def predict(self, payload, headers=None):
            return {"predictions": [1]}

    model = Decorated("m", settings)
    assert model.load()
    assert model.warmup_report.strata == ()
    assert not asyncio.run(model.healthy())


def test_what_fails_in_load_is_left_to_the_loop_that_serves_and_the_model_is_not_healthy(settings):
    class Broken(Doubler):
        def predict(self, payload, headers=None):
            raise KeyError("weights")

    model = Broken("m", settings)
    assert model.load()
    assert model.warmup_report.strata == ()
    assert not asyncio.run(model.healthy())
