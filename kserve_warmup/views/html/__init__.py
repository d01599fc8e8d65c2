"""Results as one HTML file, which opens offline: no network, and no script but the plotting library's and ours.

``chart`` says what a chart shows, ``templates/charts.js`` draws it with Observable Plot; ``warmup_page``, ``learned``,
``compare``, ``verify_page``, ``bake_page`` and ``demo_page`` say what stands on a page, the templates in
``kserve_warmup/views/templates`` how it looks, ``page`` brings them together. A further result is one more part and one
more template on the same macros.
"""

from __future__ import annotations

from collections.abc import Sequence

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport
from kserve_warmup.results import Result
from kserve_warmup.verify.verify_result import Verification
from kserve_warmup.views.html.bake_page import bake_part, bakes_compared, heading
from kserve_warmup.views.html.compare import Compared, compare
from kserve_warmup.views.html.demo_page import demo_part
from kserve_warmup.views.html.page import page, part
from kserve_warmup.views.html.verify_page import TITLES, verification_part
from kserve_warmup.views.html.warmup_page import warmups_part

__all__ = ["render_report"]


def render_report(*results: Result, labels: Sequence[str] = ()) -> str:
    """Return one self-contained HTML page about results of one or more kinds; those of one kind are compared.

    Args:
        results: Warm-up reports, verifications, results of bakes and of the demo, earlier ones first.
        labels: What to call each, such as ``before`` and ``after``; numbers when left out.

    Raises:
        WarmupError: There is nothing to show, or there are more of one model or kind than can be told apart.
    """
    if not results:
        msg = "no warm-up report to show: pass at least one WarmupReport"
        raise WarmupError(msg)
    names = list(labels) or [f"report {n}" for n in range(1, len(results) + 1)]
    labelled = list(zip(names, results, strict=True))
    warmups = [(name, r) for name, r in labelled if isinstance(r, WarmupReport)]
    verified = [(name, r) for name, r in labelled if isinstance(r, Verification)]
    bakes = [(name, r) for name, r in labelled if isinstance(r, BakeResult)]
    demos = [(name, r) for name, r in labelled if isinstance(r, DemoResult)]
    titles, parts = [], []
    if warmups:
        titles.append("Warm-up of " + ", ".join(dict.fromkeys(r.model for _, r in warmups)))
        parts.append(warmups_part(warmups, several=bool(labels)))
    if verified:
        titles += dict.fromkeys(f"{TITLES[r.verdict]}: {r.target}" for _, r in verified)
        parts += _compared("Verified, before and after", "verify", verified)
        parts += [verification_part(r, _label(name, results), f"verify-{n}") for n, (name, r) in enumerate(verified)]
    if bakes:
        titles += dict.fromkeys(heading(r) for _, r in bakes)
        parts += bakes_compared(bakes)
        parts += [bake_part(r, _label(name, results), f"bake-{n}") for n, (name, r) in enumerate(bakes)]
    if demos:
        titles.append("The first request, cold and warm")
        parts += _compared("The demo, before and after", "demo", demos)
        parts += [demo_part(r, _label(name, results), f"demo-{n}") for n, (name, r) in enumerate(demos)]
    return page("; ".join(titles), *parts)


def _compared(heading: str, kind: str, labelled: Sequence[tuple[str, Compared]]) -> list[str]:
    if len(labelled) < 2:  # noqa: PLR2004  nothing to compare
        return []
    return [part("comparison.html.j2", heading=heading, comparison=compare(kind, labelled), id=f"compared-{kind}")]


def _label(name: str, results: Sequence[Result]) -> str:
    return name if len(results) > 1 else ""
