"""What the environment says, on real servers: one line that names the variable, or a warning."""

import pytest

from kserve_warmup import WarmupSettings


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        ("LazySqlite", "max_seconds", "60s"),
        ("LazySqlite", "on_failure", "SERVE"),
        ("MadeWhenAsked", "enabled", "maybe"),
        ("MadeWhenAsked", "headers", "x: y"),
    ],
)
def test_a_value_that_cannot_be_ends_the_start_with_one_line_that_names_the_variable(target, name, value, start_case):
    server = start_case(target, **{name: value})
    code, last = server.outcome()
    assert code == 1
    assert last.startswith("kserve-warmup: ")
    assert f"KSERVE_WARMUP_{name.upper()}: " in last
    assert "Traceback" not in server.log


def test_empty_variables_are_unset_and_a_misspelt_one_is_named_with_the_nearest(start_case):
    empty = dict.fromkeys(WarmupSettings.model_fields, "")
    server = start_case("LazySqlite", **empty, max_cals=3)
    server.wait_ready()
    assert "it is served COLD" in server.log  # as without any variable: there are no samples
    (line,) = [line for line in server.log.splitlines() if "KSERVE_WARMUP_MAX_CALS" in line]
    assert "did you mean KSERVE_WARMUP_MAX_CALLS?" in line
    assert server.predict()[0] == 0
