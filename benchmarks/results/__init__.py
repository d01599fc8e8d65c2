"""Where benchmarks leave what they measured, with the machine that it was measured on."""

import json
import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def save(name: str, result: dict[str, Any]) -> None:
    """Print ``result`` and write it to ``<name>.json`` beside this file."""
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
    }
    measured = datetime.now(timezone.utc).isoformat(timespec="seconds")
    text = json.dumps({"benchmark": name, "measured": measured, "machine": machine, **result}, indent=2)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")
