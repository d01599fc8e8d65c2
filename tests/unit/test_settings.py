"""What an operator sets: one line that names the variable when it cannot be used."""

import logging

import pytest

from kserve_warmup import WarmupError, WarmupSettings
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
