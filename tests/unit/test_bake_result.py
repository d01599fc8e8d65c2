"""What a bake makes of its starts: what was not warm refuses it, what was only not steady is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kserve_warmup.caches.bake_result import BakeResult, start_of
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.report import WarmupReport

REPORTS = Path(__file__).parents[1] / "data" / "reports"
UNSTEADY = "the first start was warm, but not seen to be steady"


@pytest.fixture
def report() -> WarmupReport:
    """A report whose first stratum is steady, the second moving, and of the third no request succeeded."""
    return WarmupReport.from_json((REPORTS / "warmup-silero-vad.json").read_text())


@pytest.mark.parametrize("outside", [True, False])
def test_a_start_on_a_busy_machine_that_is_warm_and_not_seen_to_be_steady_is_baked_and_said(
    report: WarmupReport, outside: bool
) -> None:
    steady, moving = report.strata[:2]
    start = start_of([replace(report, strata=(steady, moving))], 2.0, outside=outside)
    assert not start.steady
    assert any(UNSTEADY in line for line in BakeResult("/opt/warm", (start, start), 1, 1, False).lines())
    settled = start_of([replace(report, strata=(steady,))], 2.0, outside=outside)
    assert not any(UNSTEADY in line for line in BakeResult("/opt/warm", (settled, settled), 1, 1, False).lines())


@pytest.mark.parametrize("strata", [(0, 2), (2,), ()])
def test_a_start_of_which_a_stratum_was_not_answered_is_not_baked(
    report: WarmupReport, strata: tuple[int, ...]
) -> None:
    chosen = tuple(report.strata[number] for number in strata)
    with pytest.raises(WarmupFailedError, match="was not warm"):
        start_of([replace(report, strata=chosen)], 2.0)
