"""Compile caches in fresh processes: the first start compiles, the next one finds it there, also through a shadow."""

import hashlib
import json
import os
import shutil
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
import torch
function = torch.compile(lambda x: (x * 2).sin(), dynamic=False)
def run(n):
    for i in range(n): assert torch.allclose(function(torch.ones(i + 2)), torch.tensor(2.0).sin())
""",
}
NAMES = [pytest.param(n, marks=[pytest.mark.torch] if n == "torch.compile" else []) for n in PROGRAMS]
OTHER_MACHINE = """
from jax._src import compilation_cache
def refuse(*_):
    raise RuntimeError("Target machine feature +prefer-no-gather is not supported on the host machine.")
compilation_cache.get_executable_and_time = refuse
"""
BAKED = """
from kserve_warmup.caches import baked
baked.begin()
import program
baked.attend()
program.run(2)
print(json.dumps({c.framework: dataclasses.asdict(c) for c in baked.outcome()} | {"note": baked.BAKED.note}))
"""
BAKED = "import dataclasses, json" + BAKED


def run(script, folder, *arguments, **environment):
    ends = subprocess.run(
        [sys.executable, "-c", script, str(folder), *arguments],
        cwd=folder.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ends.returncode == 0, ends.stderr
    return json.loads(ends.stdout.splitlines()[-1])


def start(folder, name, *, programs=2, how="direct", program=None):
    (folder.parent / "program.py").write_text(program or PROGRAMS[name])
    return run(START, folder, how, str(programs))[name]


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


def damage(folder, content, kind="*"):
    for file in [f for f in folder.rglob(kind) if f.is_file()]:
        held = file.read_bytes()
        file.write_bytes(held[: len(held) // 2] if content is None else content)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"foreign", None], ids=["empty", "foreign", "cut in half"])
def test_damaged_files_are_rejected_and_their_programs_compiled(tmp_path, name, content):
    folder = tmp_path / "caches"
    start(folder, name)
    damage(folder, content)
    again = start(folder, name)
    assert (again["hit"], again["compiled"], again["rejected"] > 0) == (0, 2, True)


@pytest.mark.parametrize("kept", [-1, -200], ids=["by a byte", "by its end"])
def test_jax_entries_that_are_cut_are_called_damaged_and_not_the_hosts_fault(tmp_path, kept):
    folder = tmp_path / "caches"
    start(folder, "JAX")
    for file in folder.rglob("*-cache"):
        file.write_bytes(file.read_bytes()[:kept])
    again = start(folder, "JAX")
    assert (again["hit"], again["compiled"], again["rejected"]) == (0, 2, 2)
    assert "2 entries of JAX's cache are damaged" in again["note"]
    assert "38445" not in again["note"]


def test_jax_entries_with_something_else_inside_are_called_damaged(tmp_path):
    folder = tmp_path / "caches"
    start(folder, "JAX")
    poison = (
        "from jax._src.compilation_cache import compress_executable as pack; import sys; from pathlib import Path\n"
    )
    poison += (
        "for f in Path(sys.argv[1]).rglob('*-cache'): f.write_bytes(pack(b'\\0\\0\\0\\1 anything at all'))\nprint(1)"
    )
    run(poison, folder)
    again = start(folder, "JAX")
    assert (again["hit"], again["compiled"], again["rejected"]) == (0, 2, 2)
    assert "2 entries of JAX's cache are damaged" in again["note"]


def test_jax_entries_that_this_host_refuses_are_the_hosts_fault(tmp_path):
    refused = start(tmp_path / "caches", "JAX", program=PROGRAMS["JAX"] + OTHER_MACHINE)
    assert (refused["hit"], refused["compiled"], refused["rejected"]) == (0, 2, 2)
    assert "another machine" in refused["note"]
    assert "jax 38445" in refused["note"]
    assert "damaged" not in refused["note"]


def test_jax_keeps_whole_seconds_so_that_quick_compiles_tell_of_none_saved(tmp_path):
    folder = tmp_path / "caches"
    start(folder, "JAX")
    again = start(folder, "JAX")
    assert (again["hit"], again["seconds_saved"]) == (2, None)


@pytest.fixture(scope="module")
def inductor(tmp_path_factory):
    """A folder in which torch.compile has left two programs."""
    folder = tmp_path_factory.mktemp("inductor") / "caches"
    start(folder, "torch.compile")
    return folder


@pytest.mark.torch
def test_torch_tells_the_seconds_that_its_hits_spare(tmp_path, inductor):
    shutil.copytree(inductor, tmp_path / "caches")
    again = start(tmp_path / "caches", "torch.compile")
    assert (again["hit"], again["note"]) == (2, None)
    assert again["seconds_saved"] > 0


@pytest.mark.torch
def test_a_graph_whose_machine_code_is_missing_is_no_hit(tmp_path, inductor):
    shutil.copytree(inductor, tmp_path / "caches")
    for file in (tmp_path / "caches").rglob("*.so"):
        file.unlink()
    again = start(tmp_path / "caches", "torch.compile")
    assert (again["hit"], again["compiled"], again["rejected"]) == (0, 2, 0)
    assert "the machine code of 2 graphs was missing" in again["note"]


@pytest.mark.torch
def test_a_graph_that_only_aotautograd_does_not_have_is_a_hit_that_was_traced_anew(tmp_path, inductor):
    shutil.copytree(inductor, tmp_path / "caches")
    shutil.rmtree(tmp_path / "caches" / "inductor" / "aotautograd")
    again = start(tmp_path / "caches", "torch.compile")
    assert (again["hit"], again["compiled"]) == (2, 0)
    assert "2 graphs were traced anew" in again["note"]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "content"), [("*.py", b"foreign"), ("*.main.so", b"foreign"), ("fxgraph/*/*/*", None)]
)
def test_what_inductor_cannot_load_from_a_private_folder_is_put_aside_and_compiled(tmp_path, inductor, kind, content):
    shutil.copytree(inductor, tmp_path / "caches")
    damage(tmp_path / "caches" / "inductor", content, kind)
    again = start(tmp_path / "caches", "torch.compile")
    assert (again["hit"], again["compiled"], again["rejected"]) == (0, 2, 1)
    assert "could not be loaded and was put aside" in again["note"]


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["*.py", "*.main.so"])
def test_damage_to_a_baked_inductor_cache_is_said_and_costs_no_more_than_a_compile(tmp_path, inductor, kind):
    (tmp_path / "program.py").write_text(PROGRAMS["torch.compile"])
    baked = tmp_path / "baked"
    shutil.copytree(inductor, baked / "caches", ignore=shutil.ignore_patterns("*.lock"))
    seal = (
        "from dataclasses import replace; from kserve_warmup.caches.this_machine import *; folder = Path(sys.argv[1])\n"
    )
    seal += "made = replace(of_this_machine(), files=seals(folder))\n"
    seal += "print((folder / 'fingerprint.json').write_text(made.to_json()))"
    run(seal, baked)
    trusted = {"KSERVE_WARMUP_BAKED": str(baked), "KSERVE_WARMUP_CACHE_TRUST": "writable"}
    whole = run(BAKED, baked, **trusted)
    assert (whole["torch.compile"]["hit"], whole["note"]) == (2, None)
    damage(baked / "caches", None, kind)
    again = run(BAKED, baked, **trusted)
    assert "is not as it was baked" in again["note"]
    assert again["torch.compile"]["hit"] + again["torch.compile"]["compiled"] == 2
    assert (again["torch.compile"]["hit"] == 2) == (kind == "*.py")  # torch writes these anew from the graph


@pytest.mark.torch
def test_torchscript_is_named_where_a_program_lives_and_not_where_torch_is_only_imported(tmp_path):
    script = "import dataclasses, json, torch\nfrom kserve_warmup.caches import frameworks\n{}\n"
    script += "print(json.dumps({{c.framework: dataclasses.asdict(c) for c in frameworks.counts()}}))"
    (tmp_path / "folder").mkdir()
    assert "TorchScript" not in run(script.format(""), tmp_path / "folder")
    traced = "model = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)); torch.jit.save(model, 'model.pt')"
    assert run(script.format(traced), tmp_path / "folder")["TorchScript"]["told"] is False
    loaded = run(script.format("models = [torch.jit.load('model.pt')]"), tmp_path / "folder")["TorchScript"]
    assert "keeps nothing on disk" in loaded["note"]
