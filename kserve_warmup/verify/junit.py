"""A verification as JUnit XML, which build servers show: a test case for each figure."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from kserve_warmup.printable import printable
from kserve_warmup.verify.verify_result import Row, Verification


def junit(result: Verification, *, strict: bool) -> str:
    """Return the XML; a figure that cannot be judged is skipped, or with ``strict`` a failure."""
    failing = ("fail", "noisy") if strict else ("fail",)
    failures = sum(row.judgement.verdict in failing for row in result.rows)
    suite = Element("testsuite", name="kserve-warmup verify", timestamp=result.created)
    suite.set("tests", str(len(result.rows)))
    suite.set("failures", str(failures))
    suite.set("errors", "0")
    suite.set("skipped", str(len(result.with_verdict("noisy")) if not strict else 0))
    if there := result.judgeable:
        said = {"judgeable_max_ratio": f"{there.max_ratio:g}", "verdict_there": there.verdict}
        properties = SubElement(suite, "properties")
        for name, value in said.items():
            SubElement(properties, "property", name=name, value=value)
    for row in result.rows:
        _case(suite, row, result.max_ratio, failing)
    indent(suite)
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Element, row: Row, max_ratio: float, failing: tuple[str, ...]) -> None:
    seconds = sum(sum(s.latencies_ms) for s in row.series) / 1000
    case = SubElement(
        suite, "testcase", classname="kserve_warmup.verify", name=printable(row.name), time=f"{seconds:.3f}"
    )
    why, verdict = printable(row.why(max_ratio)), row.judgement.verdict
    if verdict in failing:
        SubElement(case, "failure", type=verdict, message=why).text = why
    elif verdict == "noisy":
        SubElement(case, "skipped", message=why)
    else:
        SubElement(case, "system-out").text = why
