"""Where benchmarks leave what they measured, with the machine that it was measured on."""

import json
import os
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def save(name: str, result: dict[str, Any]) -> None:
    """Write ``result`` to ``<name>.json`` beside this file, and print its figures without the raw values."""
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kserve": version("kserve"),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
    }
    measured = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = json.dumps({"benchmark": name, "measured": measured, "machine": machine, **result}, indent=1)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    figures = {key: value for key, value in result.items() if not isinstance(value, dict)}
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
