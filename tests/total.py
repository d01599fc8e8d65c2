"""Say what came out of the parts that ``make test`` runs, all together: ``python tests/total.py PART.xml...``."""

import sys
import xml.etree.ElementTree as ET

suites = [suite for part in sys.argv[1:] for suite in ET.parse(part).iter("testsuite")]
count = {name: sum(int(suite.get(name)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")}
bad = [
    f"{case.get('classname')}::{case.get('name')}"
    for suite in suites
    for case in suite.iter("testcase")
    if case.find("failure") is not None or case.find("error") is not None
]
minutes = sum(float(suite.get("time")) for suite in suites) / 60
passed = count["tests"] - count["failures"] - count["errors"] - count["skipped"]
print(f"make test: {passed} of {count['tests']} tests passed, {count['skipped']} skipped, in {minutes:.1f} minutes")
for name in bad:
    print(f"  failed: {name}")
sys.exit(bool(bad))
