"""How much longer does ``import kserve_warmup`` take than ``import kserve``?  python -m benchmarks.import_time

Fresh interpreters in alternation; processor seconds (user), which a busy machine disturbs less than the clock. Goal: at
most 10 % more.
"""

import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.results import save

RUNS = 25


def seconds(module: str) -> float:
    before = os.times().children_user
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return os.times().children_user - before


def run() -> dict[str, Any]:
    pairs = [(seconds("kserve"), seconds("kserve_warmup")) for _ in range(RUNS + 1)][1:]
    ratios = sorted(ours / theirs for theirs, ours in pairs)
    return {
        "kserve_s": statistics.median(theirs for theirs, _ in pairs),
        "kserve_warmup_s": statistics.median(ours for _, ours in pairs),
        "ratio_median": statistics.median(ratios),
        "ratio_range": [ratios[0], ratios[-1]],
        "runs": RUNS,
        "goal": 1.10,
    }


if __name__ == "__main__":
    save("import_time", run())
