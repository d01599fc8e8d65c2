"""The hooks in frameworks: an upgrade that moves them, or a hook that fails, harms nobody."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from kserve_warmup.capture.capturing import Capture
from kserve_warmup.monitor import dynamo_compiles, jax_compiles, numba_compiles, triton_language_compiles
from kserve_warmup.monitor.compile_hooks import Hooks
from kserve_warmup.monitor.taken_request import CURRENT, TakenRequest
from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.monitor.watch import LATE, MOST_NAMES, Watch
from kserve_warmup.protocols.bodies import request
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.serving.context import Attempt, warming

HOOKS = [jax_compiles, numba_compiles, dynamo_compiles, triton_language_compiles]
BODY = b'{"instances": [[1.5, 2.5]]}'


def counted(framework="made up"):
    return LATE.labels(framework)._value.get()


@pytest.fixture
def watch(monkeypatch):
    """A watch of a model of which nothing is warm, whose thread does not run."""
    made = Watch(Capture())
    monkeypatch.setattr(made, "_thread", object())
    made.begin("m", WarmedStrata(()))
    return made


def made():
    def record():
        return Record("", 0, BODY, {}, None, "v1", 200, 0.0)

    return TakenRequest("m", "/v1/models/m:predict", record, len(BODY))


@pytest.fixture
def taken():
    """A request under way."""
    request_ = made()
    token = CURRENT.set(request_)
    yield request_
    CURRENT.reset(token)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_touch_point_that_is_gone_is_named_and_harms_nobody(hook, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, hook.MODULE, ModuleType(hook.MODULE))
    monkeypatch.delitem(sys.modules, "triton.knobs", raising=False)
    hooks = Hooks((hook,), lambda *_: None)
    with caplog.at_level(logging.WARNING, "kserve.warmup"):
        hooks.install()
        hooks.install()
    assert [hook.FRAMEWORK in line for line in caplog.messages] == [True]


def test_frameworks_are_never_imported_to_look(monkeypatch):
    for hook in HOOKS:
        monkeypatch.delitem(sys.modules, hook.MODULE, raising=False)
    before = set(sys.modules)
    Hooks(tuple(HOOKS), lambda *_: None).install()
    assert set(sys.modules) == before


def raises(*_):
    raise RuntimeError("ours")


def test_a_numba_function_compiles_though_our_listener_raises():
    import numba

    Hooks((numba_compiles,), raises).install()
    assert numba.njit(lambda x: x + 1)(1) == 2


def test_a_jax_function_compiles_though_our_listener_raises():
    import jax

    Hooks((jax_compiles,), raises).install()
    assert jax.jit(lambda x: x + 1)(1) == 2


def test_a_kernels_own_hook_is_called_before_ours_which_is_put_in_once(monkeypatch):
    called = []
    runtime = SimpleNamespace(jit_post_compile_hook=lambda **facts: called.append(facts["key"]) or "theirs")
    monkeypatch.setitem(sys.modules, "triton.runtime.jit", ModuleType("triton.runtime.jit"))
    monkeypatch.setitem(sys.modules, "triton.knobs", SimpleNamespace(runtime=runtime))
    told = []
    for _ in range(2):
        Hooks((triton_language_compiles,), lambda *what: told.append(what)).install()
    answer = runtime.jit_post_compile_hook(key=7, fn=SimpleNamespace(name="add"), later="argument")
    assert (answer, called, told) == ("theirs", [7], [("triton-language", "add", None)])


def test_what_a_warm_up_compiles_is_not_late(watch):
    before = counted()
    with warming(Attempt()):
        watch.compiled("made up", "f", 1.0)
    assert counted() == before


def test_what_compiles_while_another_model_loads_is_not_late_but_in_a_request_it_is(watch, taken):
    watch.settled = lambda name: name == "m"
    before = counted()
    watch.compiled("made up", "f", 1.0)
    token = CURRENT.set(None)
    watch.compiled("made up", "g", 1.0)
    CURRENT.reset(token)
    assert counted() - before == 1
    assert [found.program for found in taken.compiles] == ["f"]


def test_a_request_for_which_something_compiles_is_told_with_its_stratum_even_if_it_fails(watch, taken, caplog):
    watch.compiled("made up", "f", 1.0)
    watch.ended(taken, success=False)
    with caplog.at_level(logging.WARNING, "kserve.warmup"):
        watch.judge()
    (line,) = caplog.messages
    assert "made up compiled f for 1 s" in line
    assert str(request("v1", BODY).stratum) in line


def test_a_body_is_let_go_when_it_was_judged_or_is_not_looked_at(watch):
    many = [made() for _ in range(50)]
    for one in many:
        watch.ended(one, success=True)
    assert sum(one.make is not None for one in many) <= 1
    watch.judge()
    assert all(one.make is None for one in many)
    assert watch._held == 0


def test_warnings_are_one_a_program_and_bounded(watch, caplog):
    with caplog.at_level(logging.WARNING, "kserve.warmup"):
        for number in range(3 * MOST_NAMES):
            for _ in range(2):
                watch.compiled("made up", f"f{number}", 1.0)
        watch.judge()
    assert len(caplog.messages) == MOST_NAMES + 1
    assert "only counted" in caplog.messages[-1]
