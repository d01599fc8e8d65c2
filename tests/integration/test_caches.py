"""Compile caches in fresh processes: the first start compiles, the next one finds it there, also through a shadow."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import dataclasses, json, os, sys
from pathlib import Path
from kserve_warmup.caches import frameworks
from kserve_warmup.caches.shadow import shadow
folder = Path(sys.argv[1])
if sys.argv[2] == "shadow":
    folder = shadow(folder)
os.environ.update(frameworks.variables(folder))
import program
frameworks.switch_on_all(folder)
frameworks.watch_all()
program.run(int(sys.argv[3]))
print(json.dumps({c.framework: dataclasses.asdict(c) for c in frameworks.counts()}))
"""
PROGRAMS = {
    "numba": """
import numba
@numba.njit(cache=True)
def twice(x): return x * 2
def run(n): return [twice(1), twice(1.0)][: n] if n < 3 else [twice(1), twice(1.0), twice(1j)]
""",
    "JAX": """
import jax, numpy
def run(n): return [jax.jit(lambda x: x * 2)(numpy.ones(i + 1, "f4")) for i in range(n)]
""",
    "torch.compile": """
import torch, torch._dynamo
def run(n):
    for i in range(n): torch.compile(lambda x: (x * 2).sin(), dynamic=False)(torch.ones(i + 2))
""",
}
NAMES = [pytest.param(n, marks=[pytest.mark.torch] if n == "torch.compile" else []) for n in PROGRAMS]


def start(folder, name, *, programs=2, how="direct"):
    (folder.parent / "program.py").write_text(PROGRAMS[name]) if not (folder.parent / "program.py").exists() else None
    ends = subprocess.run(
        [sys.executable, "-c", START, str(folder), how, str(programs)],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ends.returncode == 0, ends.stderr
    return json.loads(ends.stdout.splitlines()[-1])[name]


def digests(folder: Path):
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_second_start_hits_through_a_shadow_and_the_baked_folder_is_untouched(tmp_path, name):
    folder = tmp_path / "caches"
    first = start(folder, name)
    assert (first["hit"], first["compiled"]) == (0, 2)
    before = digests(folder)
    second = start(folder, name, how="shadow")
    assert (second["hit"], second["compiled"]) == (2, 0)
    third = start(folder, name, programs=3, how="shadow")
    assert (third["hit"], third["compiled"]) == (2, 1)
    assert digests(folder) == before


@pytest.mark.parametrize("name", [n for n in NAMES if "torch" not in str(n)])
@pytest.mark.parametrize("content", [b"", b"foreign", None], ids=["empty", "foreign", "cut in half"])
def test_damaged_files_are_rejected_and_their_programs_compiled(tmp_path, name, content):
    folder = tmp_path / "caches"
    start(folder, name)
    for file in [f for f in folder.rglob("*") if f.is_file()]:
        held = file.read_bytes()
        file.write_bytes(held[: len(held) // 2] if content is None else content)
    again = start(folder, name)
    assert (again["hit"], again["compiled"], again["rejected"] > 0) == (0, 2, True)
