"""Where a model stands between made and warm: events in, next state out."""

import pytest

from kserve_warmup.serving.state import UNDER_WAY, ModelState, Phase

NEW = ModelState()
LOADING = NEW.load_begins()
LOADED = LOADING.load_ends(loaded=True)
WARMING = LOADED.warms()
WARM = WARMING.warmed()


def test_only_a_warm_model_that_declares_itself_loaded_is_healthy():
    assert [s.healthy for s in (NEW, LOADING, LOADED, WARMING, WARMING.waits(), WARMING.fails())] == [False] * 6
    assert WARM.healthy
    assert not WARM.declares(ready=False).healthy


def test_a_loaded_model_is_declared_so_that_kserve_registers_it():
    assert [s.declared for s in (NEW, LOADING, LOADED, WARMING, WARM)] == [False, False, True, True, True]


def test_a_load_without_success_leaves_the_model_as_if_new():
    failed = LOADING.load_ends(loaded=False)
    assert (failed.phase, failed.declared, failed.load_wanted) == (Phase.NEW, False, True)


@pytest.mark.parametrize("state", [NEW, LOADED, WARM, WARMING.fails(), WARM.declares(ready=False)])
def test_a_load_may_begin_whenever_nothing_is_under_way_and_forgets_what_was_declared(state):
    assert state.load_begins() == ModelState(Phase.LOADING, declared=False, load_wanted=True)


@pytest.mark.parametrize("phase", sorted(UNDER_WAY, key=lambda phase: phase.value))
def test_no_load_begins_while_something_is_under_way(phase):
    with pytest.raises(ValueError, match=f"the model is {phase.value}"):
        ModelState(phase).load_begins()


def test_to_declare_ready_without_a_load_means_loaded():
    assert NEW.declares(ready=True).phase is Phase.LOADED
    assert WARMING.fails().declares(ready=True).phase is Phase.LOADED


@pytest.mark.parametrize("state", [LOADING, LOADED, WARMING, WARMING.waits(), WARM])
def test_to_declare_ready_jumps_over_nothing_that_is_under_way(state):
    assert state.declares(ready=True).phase is state.phase


def test_a_model_that_takes_ready_back_and_gives_it_again_needs_no_second_warm_up():
    assert WARM.declares(ready=False).declares(ready=True) == WARM


def test_a_wait_may_interrupt_a_warm_up_again_and_again():
    state = WARMING
    for _ in range(3):
        state = state.waits().warms()
    assert state.warmed() == WARM


def test_a_model_that_nothing_can_be_sent_to_is_warm_once_it_is_loaded():
    assert LOADED.warmed().healthy


@pytest.mark.parametrize("state", [NEW, LOADING, WARM, WARMING.fails()])
def test_neither_a_warm_up_nor_a_wait_begins_before_the_load_or_after_the_end(state):
    for event in (state.warms, state.waits):
        with pytest.raises(ValueError, match=state.phase.value):
            event()


@pytest.mark.parametrize("state", [NEW, LOADING, WARM, WARMING.waits(), WARMING.fails()])
def test_only_a_warm_up_or_a_load_ends_warm(state):
    with pytest.raises(ValueError, match=state.phase.value):
        state.warmed()


@pytest.mark.parametrize("state", [NEW, LOADED, WARMING, WARM])
def test_a_load_that_was_not_begun_does_not_end(state):
    with pytest.raises(ValueError, match=state.phase.value):
        state.load_ends(loaded=True)


@pytest.mark.parametrize("state", [LOADING, LOADED, WARMING, WARMING.waits(), WARM, WARMING.fails()])
def test_a_copy_in_another_process_has_to_load_again_what_was_loaded(state):
    assert state.copied() == ModelState(Phase.NEW, declared=False, load_wanted=True)


def test_a_copy_of_a_model_that_was_made_ready_is_loaded_and_not_warm():
    for state in (NEW.declares(ready=True), NEW.declares(ready=True).warms().warmed()):
        assert state.copied() == ModelState(Phase.LOADED, declared=True, load_wanted=False)


def test_a_copy_of_a_model_that_was_never_loaded_is_new():
    assert NEW.copied() == NEW
