"""Times as logs write them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)?"
)


def seconds(text: Any) -> float | None:
    """Return an RFC 3339 time as seconds since 1970; without a zone it is UTC. None for anything else."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not match:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+00:00")
    try:
        whole = datetime.fromisoformat(f"{match['date']}T{match['time']}{zone}").timestamp()
    except ValueError:
        return None
    return whole + float(match["fraction"] or 0)  # Go writes nine digits
