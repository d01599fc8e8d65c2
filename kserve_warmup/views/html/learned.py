"""What a start had from earlier ones, for a page: compile caches and the profile; None where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.report import ProfileUse, WarmupReport
from kserve_warmup.views.figures import NOTHING, count

GOOD, BAD = "good", "bad"
View = dict[str, Any]
"""What a template is given."""


def caches_view(found: Sequence[CacheCount], note: str | None) -> View | None:
    """Return what caches gave, in all and by framework; ``note`` says why they were not used, or not wholly."""
    if not (found or note):
        return None
    told = [one for one in found if one.told]
    hit, compiled, rejected = (sum(getattr(one, what) for one in told) for what in ("hit", "compiled", "rejected"))
    saved = sum(one.seconds_saved or 0.0 for one in told)
    small = [count(compiled, "compiled", "compiled")] if compiled and hit else []
    small += [f"{rejected:,} of them rejected"] if rejected else []
    small += [f"{saved:.1f} s saved"] if saved else []
    small += ["what was baked is not used, or not wholly"] if note else []
    untold = [one.framework for one in found if not one.told]
    small += [f"{', '.join(untold)} not told"] if untold and told else []
    return {
        "fact": _in_all(hit, compiled, told=bool(told) or not found),
        "small": ", ".join(small),
        "state": BAD if note or rejected else GOOD if hit and not compiled else "",
        "note": note,
        "counts": [{"one": one, "state": BAD if one.rejected else ""} for one in found],
        "notes": any(one.note for one in found),
    }


def _in_all(hit: int, compiled: int, *, told: bool) -> str:
    if hit:
        return f"{hit:,} of {hit + compiled:,} hit"
    if compiled:
        return f"{count(compiled, 'program')} compiled"
    return "nothing compiled" if told else "not told"


def profile_view(use: ProfileUse | None) -> View | None:
    """Return in one word or two what the profile did, and what there is to say of it, line by line."""
    if use is None:
        return None
    said = [("Ended the warm-up early over", ", ".join(use.used))] if use.used else []
    said += [("Not used", line) for line in use.refused]
    said += [("Learned with other", ", ".join(use.stale))] if use.stale else []
    said += [("Read from", use.source)] if use.source else []
    said += [("This start was added to", use.learned)] if use.learned else []
    return {"fact": profile_word(use), "said": said} if said else None


def profile_word(use: ProfileUse | None) -> str:
    """Return what a profile did in a word or two; a dash if there was none."""
    if use is None or use == ProfileUse():
        return NOTHING
    if use.used:
        return "ended early" if not use.refused else "ended early in part"
    if use.refused:
        return "not used"
    return "not needed" if use.source else "written"


def compared(reports: Sequence[WarmupReport]) -> list[View]:
    """Return for each report what its caches and profile did, and why not more; nothing if none of them tells."""
    rows = [
        {
            "caches": caches_view(report.cache, report.cache_note),
            "profile": profile_word(report.profile),
            "why": _why(report),
        }
        for report in reports
    ]
    return rows if any(row["caches"] or row["profile"] != NOTHING for row in rows) else []


def _why(report: WarmupReport) -> list[str]:
    refused = report.profile.refused if report.profile else ()
    return [*filter(None, [report.cache_note]), *(f"profile: {line}" for line in refused)]
