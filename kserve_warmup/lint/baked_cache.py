"""The rule about baked compile caches that the server may write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kserve_warmup.lint.dockerfile import Instruction
from kserve_warmup.lint.findings import Knowledge, Problem, Rule, Severity

_BAKE = re.compile(r"\bkserve[-_]warmup(?:\s+--\S+)*\s+bake\b")
_TRUST = re.compile(r"\bKSERVE_WARMUP_CACHE_TRUST[=\s]+[\"']?writable")
_OUT = re.compile(r"--out[=\s]+(\S+)")
_OPENED = r"\bch(?:own|mod)\b[^;&|]*\s[\"']?{folder}(?:[/\"'\s]|$)"
_CLOSED_MODE = re.compile(r"\bchmod\b[^;&|]*\s(?:0?[0-7][0-5][0-5]|[ugoa]*-\w*w\w*)\s")
_ROOT = ("root", "0")


def check(image: Sequence[Instruction], _: Knowledge) -> Iterator[Problem]:
    """Yield a problem where what was baked may be written by the user that serves."""
    last = max((i.stage for i in image), default=0)
    final = [i for i in image if i.stage == last]
    server = _served_by(final)
    folders = ["/opt/warm"]
    for one in image:
        if one.word == "RUN" and _BAKE.search(one.rest):
            out = _OUT.search(one.rest)
            folders.append(out[1] if out else folders[0])
            if one.stage == last and one.user not in _ROOT and one.user == server:
                yield Problem(
                    one.position,
                    f"bake runs as {one.user}, which serves too and so owns the caches: a start will refuse them and "
                    "compile anew; put USER root before it and USER after it",
                )
    for one in final:
        if one.word == "ENV" and _TRUST.search(one.rest):
            said = (
                "KSERVE_WARMUP_CACHE_TRUST=writable: whoever can write the caches runs code in the server; keep them "
                "read-only, which bake as root does"
            )
            yield Problem(one.position, said)
        if one.word == "RUN" and any(_opens(one.rest, folder, server) for folder in folders):
            said = "the baked caches are given away to be written: a start will refuse them; leave them root's"
            yield Problem(one.position, said)


def _served_by(stage: Sequence[Instruction]) -> str:
    return next((i.rest.partition(":")[0] for i in reversed(stage) if i.word == "USER"), "root")


def _opens(command: str, folder: str, server: str) -> bool:
    for part in re.split(r"&&|;|\|\|", command):
        if not re.search(_OPENED.format(folder=re.escape(folder.rstrip("/"))), part) or _CLOSED_MODE.search(part):
            continue
        owner = re.search(r"\bchown\s+(?:-\S+\s+)*([^\s:]+)", part)
        if owner is None or owner[1] not in _ROOT or server in _ROOT:
            return owner is None or owner[1] not in _ROOT
    return False


_BAKED = """\
FROM python:3.12-slim
RUN pip install kserve-warmup
COPY predictor.py warmup/ ./
{users}
"""

RULE = Rule(
    "cache-writable",
    Severity.WARNING,
    "baked compile caches that the server can write",
    """Compile caches are executable code. A start refuses a baked folder that its own user owns or others may write,
and then compiles everything anew; `KSERVE_WARMUP_CACHE_TRUST=writable` lets whoever writes there run code in
the server. Bake as root and serve as another user.""",
    check,
    failing={
        "Dockerfile": _BAKED.format(users="USER 1000\nRUN kserve-warmup bake predictor:Predictor --samples warmup")
    },
    passing={
        "Dockerfile": _BAKED.format(
            users="USER root\nRUN kserve-warmup bake predictor:Predictor --samples warmup\nUSER 1000:1000"
        )
    },
)
