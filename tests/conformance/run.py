"""Run KServe's own tests with ``kserve.Model`` replaced by ``WarmupModel``: what passed before must pass.

The tests come from the source distribution of the installed KServe version. Run with the Python of an environment that
holds their requirements: ``make test-kserve``.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

FILES = (
    "dataplane",
    "grpc_server",
    "header_forwarding",
    "infer_type",
    "logging_config",
    "model_repository",
    "model_repository_extension",
    "model_server",
    "numpy_codec",
    "rest_server",
    "server",
)


def fetch(folder):
    """Unpack KServe's tests below ``folder``; return the folder that holds them."""
    requirement = f"kserve=={version('kserve')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "kserve", "--dest", folder]
    subprocess.run([*pip, requirement], check=True)
    with tarfile.open(next(Path(folder).glob("kserve-*.tar.gz"))) as archive:
        members = [m for m in archive if Path(m.name).parts[1:2] == ("test",)]
        archive.extractall(folder, members, filter="data")
    tests = next(Path(folder).glob("kserve-*/test"))
    (tests / "__init__.py").touch()  # left out of the distribution; the tests import each other as a package
    return tests


def passed(tests, swap):
    """Return the names of the tests that pass, and of those that do not."""
    junit = tests.parent / f"junit-{bool(swap)}.xml"
    names = [str(tests / f"test_{name}.py") for name in FILES if (tests / f"test_{name}.py").exists()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "site"), "KSERVE_WARMUP_SWAP": swap}
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "kserve_fixtures",
        "-W",
        "ignore",
        f"--junitxml={junit}",
    ]
    run = subprocess.run(
        [*pytest, *names], cwd=tests.parent, env=environment, capture_output=True, text=True, check=False
    )
    if not junit.exists():
        sys.exit(run.stdout[-3000:] + run.stderr[-3000:])
    cases = {f"{c.get('classname')}::{c.get('name')}": c for c in ET.parse(junit).iter("testcase")}
    bad = {name for name, case in cases.items() if any(child.tag in ("failure", "error") for child in case)}
    return cases.keys() - bad, bad, run.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        tests = fetch(folder)
        before, failing_before, _ = passed(tests, "")
        after, failing_after, output = passed(tests, "1")
    print(f"KServe {version('kserve')}, its own tests:")
    print(f"{len(before)} pass with kserve.Model, {len(after)} with WarmupModel")
    print(f"failing with both, for want of their surroundings: {sorted(failing_before & failing_after)}")
    lost = before - after
    if lost:
        print(output[-5000:])
        sys.exit(f"broken by WarmupModel: {sorted(lost)}")
    if len(before) < 100:
        sys.exit("too few of KServe's tests ran to mean anything: see the output above")


if __name__ == "__main__":
    main()
