"""What an operator sets: one line that names the variable when it cannot be used."""

import logging

import pytest

from kserve_warmup import WarmupError, WarmupModel, WarmupSettings
from kserve_warmup.settings import warn_of_unknown_variables


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch):
    for name in WarmupSettings.model_fields:
        monkeypatch.setenv(f"KSERVE_WARMUP_{name.upper()}", "")
    settings = WarmupSettings()
    monkeypatch.undo()
    assert settings == WarmupSettings()


def test_a_request_may_take_the_whole_budget_unless_it_is_told_otherwise():
    assert WarmupSettings(max_seconds=7).patience == 7
    assert WarmupSettings(max_seconds=7, request_timeout=2).patience == 2


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MAX_SECONDS", "60s", "a number of seconds above 0"),
        ("MAX_SECONDS", "0", "a number of seconds above 0"),
        ("MAX_SECONDS", "inf", "a number of seconds above 0"),
        ("REQUEST_TIMEOUT", "-1", "a number of seconds above 0"),
        ("ON_FAILURE", "SERVE", "'fail' or 'serve'"),
        ("ENABLED", "maybe", "true or false"),
        ("MAX_CALLS", "many", "integer"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_with_the_variable_and_the_value(name, value, hint, monkeypatch):
    monkeypatch.setenv(f"KSERVE_WARMUP_{name}", value)
    with pytest.raises(WarmupError) as caught:
        WarmupSettings()
    said = str(caught.value)
    assert said.startswith(f"KSERVE_WARMUP_{name}: ")
    assert hint in said
    assert repr(value) in said
    assert "\n" not in said


def test_an_argument_is_named_as_such():
    with pytest.raises(WarmupError, match=r"^max_seconds: a number of seconds"):
        WarmupSettings(max_seconds=-1)


def test_headers_that_cannot_be_used_are_not_shown(monkeypatch):
    monkeypatch.setenv("KSERVE_WARMUP_HEADERS", '{"x": "secret"')
    with pytest.raises(WarmupError, match=r"^KSERVE_WARMUP_HEADERS: a JSON object") as caught:
        WarmupSettings()
    assert "secret" not in str(caught.value)


def test_a_misspelt_variable_is_named_with_the_nearest_one(monkeypatch, caplog):
    monkeypatch.setenv("KSERVE_WARMUP_MAX_CALS", "3")
    with caplog.at_level(logging.WARNING, "kserve.warmup"):
        warn_of_unknown_variables()
    (line,) = caplog.messages
    assert "KSERVE_WARMUP_MAX_CALS" in line
    assert "did you mean KSERVE_WARMUP_MAX_CALLS?" in line


def test_what_kubernetes_sets_for_a_service_of_our_name_is_not_a_misspelt_variable(monkeypatch, caplog):
    for name, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "PORT": "tcp://10.0.0.1:80",
        "PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(f"KSERVE_WARMUP_{name}", value)
    warn_of_unknown_variables()
    assert caplog.messages == []


@pytest.mark.parametrize(("near", "meant"), [("WARM_UP_SAMPLES", "SAMPLES"), ("WARUMP_MAX_CALLS", "MAX_CALLS")])
def test_a_variable_whose_prefix_is_misspelt_is_named_too_and_kserves_own_are_not(near, meant, monkeypatch, caplog):
    monkeypatch.setenv(f"KSERVE_{near}", "3")
    monkeypatch.setenv("KSERVE_LOGLEVEL", "INFO")
    warn_of_unknown_variables()
    (line,) = caplog.messages
    assert f"did you mean KSERVE_WARMUP_{meant}?" in line


def test_a_misspelt_variable_is_named_once_and_stops_nothing(monkeypatch, caplog):
    monkeypatch.setenv("KSERVE_WARMUP_TOLLERANCE", "0.5")
    assert WarmupSettings().tolerance == 0.10
    warn_of_unknown_variables()
    warn_of_unknown_variables()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: WarmupSettings(max_cals=5),
        lambda: WarmupSettings(MAX_CALS=5),
        lambda: WarmupSettings(max_seconds=5).model_copy(update={"max_cals": 5}),
        lambda: WarmupSettings.model_validate({"max_cals": 5}),
    ],
)
def test_a_misspelt_setting_in_code_is_refused_with_the_nearest_one(make):
    with pytest.raises(WarmupError, match=r"^(max_cals|MAX_CALS): there is no such setting: did you mean max_calls\?$"):
        make()


def test_a_misspelt_setting_of_a_subclass_is_refused_and_its_own_are_not():
    with pytest.raises(WarmupError, match=r"^Mine.max_cals: there is no such setting: did you mean max_calls\?$"):
        type("Mine", (WarmupSettings,), {"__annotations__": {"max_cals": int}, "max_cals": 5})
    own = type("Mine", (WarmupSettings,), {"__annotations__": {"max_calls": int, "team": str}, "max_calls": 5})
    assert own(team="a").max_calls == 5


def test_a_copy_with_other_values_is_checked_and_keeps_the_rest():
    settings = WarmupSettings(max_seconds=5, headers={"x-key": "a"})
    assert settings.model_copy(update={"max_calls": 7}) == WarmupSettings(
        max_seconds=5, headers={"x-key": "a"}, max_calls=7
    )
    with pytest.raises(WarmupError, match=r"^max_calls: it should be"):
        settings.model_copy(update={"max_calls": 0})


def _of_the_class(name, value):
    return type("Model", (WarmupModel,), {name: value})("m")


def _of_the_instance(name, value):
    model = WarmupModel("m")
    setattr(model, name, value)
    return model


@pytest.mark.parametrize("make", [_of_the_class, _of_the_instance])
@pytest.mark.parametrize("name", ["warmup_setting", "warm_up_settings", "warmupSettings", "WARMUP_SETTINGS"])
def test_settings_under_a_misspelt_attribute_are_refused(make, name):
    with pytest.raises(WarmupError, match=rf"{name}: nothing reads it: did you mean warmup_settings\?"):
        make(name, WarmupSettings(max_calls=5)).load()


@pytest.mark.parametrize("make", [_of_the_class, _of_the_instance])
def test_settings_of_another_type_are_refused(make):
    with pytest.raises(WarmupError, match=r"warmup_settings: it should be a WarmupSettings, not a dict"):
        make("warmup_settings", {"max_calls": 5}).load()


@pytest.mark.parametrize("make", [_of_the_class, _of_the_instance])
def test_a_models_own_attributes_of_similar_names_are_its_own(make):
    assert make("warmup_setting", 3).load()
    assert make("settings", WarmupSettings()).load()
