"""How the package is built: imports go one way, and every module is small enough to be read at once."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import kserve_warmup

ROOT = Path(kserve_warmup.__file__).parent
MOST_LINES = 300
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def name_of(file: Path, root: Path) -> str:
    parts = file.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    return {
        name_of(file, root): file
        for file in sorted(root.rglob("*.py"))
        if not any(file.match(pattern) for pattern in GENERATED)
    }


def imports(name: str, file: Path, known) -> set[str]:
    """Return which of the known modules a module names in any import: at its top, in a function, or for types only."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *filter(None, [node.module])])
            wanted = [f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names]
        else:
            continue
        found |= {module for module in wanted if module in known}
    return found - {name}


def graph(root: Path) -> dict[str, set[str]]:
    """Return who imports whom. A package's face, which only hands names on, stands below nobody but who asks it."""
    known = modules(root)
    return {name: imports(name, file, known) for name, file in known.items()}


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle, in order; nothing when there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def too_long(root: Path) -> dict[str, int]:
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules(root).items()}
    return {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def same_names(root: Path) -> dict[str, list[str]]:
    """Return the last names that several modules share, and those modules; ``__init__`` is a package's own name."""
    lasts = {name: name.rpartition(".")[2] for name in modules(root)}
    counts = Counter(lasts.values())
    return {last: [name for name, own in lasts.items() if own == last] for last, count in counts.items() if count > 1}


def underscored(root: Path) -> list[str]:
    return [name for name in modules(root) if name.rpartition(".")[2].startswith("_") and "__main__" not in name]


def test_imports_go_one_way():
    assert circle(graph(ROOT)) == []


def test_no_module_is_longer_than_300_lines():
    assert too_long(ROOT) == {}


def test_a_circle_is_found_wherever_its_imports_stand(tmp_path):
    house = tmp_path / "house"
    (house / "rooms").mkdir(parents=True)
    (house / "__init__.py").write_text("")
    (house / "rooms" / "__init__.py").write_text("")
    (house / "rooms" / "hall.py").write_text("from house import cellar\n")
    (house / "attic.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.rooms.hall\n"
    )
    (house / "cellar.py").write_text("def down():\n    from .attic import stairs\n")
    assert sorted(set(circle(graph(house)))) == ["house.attic", "house.cellar", "house.rooms.hall"]
    (house / "cellar.py").write_text("")
    assert circle(graph(house)) == []


def test_names_lengths_and_underscores_are_seen(tmp_path):
    house = tmp_path / "house"
    (house / "rooms").mkdir(parents=True)
    for name in ("__init__", "hall", "_hidden", "rooms/__init__", "rooms/hall", "long_pb2"):
        (house / f"{name}.py").write_text("x = 1\n" * (301 if "l" in name else 1))
    assert set(too_long(house)) == {"house.hall", "house.rooms.hall"}
    assert same_names(house) == {"hall": ["house.hall", "house.rooms.hall"]}
    assert underscored(house) == ["house._hidden"]


def test_every_module_has_a_name_of_its_own_but_for_the_commands_which_are_called_what_they_do():
    shared = {last: [name for name in names if ".cli." not in name] for last, names in same_names(ROOT).items()}
    assert {last: names for last, names in shared.items() if len(names) > 1} == {}


def test_no_module_is_underscored():
    assert underscored(ROOT) == []
