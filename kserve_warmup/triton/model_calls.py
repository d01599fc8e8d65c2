"""Does a Python model call other models (Triton's "business logic scripting")? Told from its source, which is not run.

While the server starts it takes no call ("Server not ready"), and later a called model may not be loaded yet: the
warm-up fails then, the load with it, and tritonserver 2.51 went down with signal 11 more than once. Whoever names
``InferenceRequest`` as a value and ``exec`` or ``async_exec`` of something makes such calls: in ``model.py`` or beside
it, under any alias.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.warmup_files import read_regular

REQUEST = "InferenceRequest"
RUNS = frozenset({"exec", "async_exec"})

MOST_FILES = 2000
"""Files of source that are looked at; what a model's folder holds beside, such as an environment, is not its own."""

_TESTS = re.compile(r"test_.*|.*_test|conftest")
_TYPED = ("isinstance", "issubclass", "cast")
_WORTH_PARSING = re.compile(rb"InferenceRequest|\b(?:async_)?exec\b")
_BY_TEXT = re.compile(rf"\b{REQUEST}\s*\(")


class CallsOthersError(TritonConfigError):
    """A model calls others, which may not be loaded while it is warmed."""


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """The calls of other models in a model's source.

    Attributes:
        where: a file, from the model's folder, and its line.
        models: names of called models that stand in the source.
        named: whether those are all; others are worked out at run time.
    """

    where: str
    models: tuple[str, ...]
    named: bool


def check_calls(folder: Path, text: bytes, loaded_first: Sequence[str] = ()) -> None:
    """Refuse a model that calls others, unless those are loaded before it.

    Args:
        folder: The model's folder, whose parent is the repository.
        text: Its configuration.
        loaded_first: Models that are loaded before it.

    Raises:
        CallsOthersError: It may take the server down; the line says what would work.
    """
    calls = find_calls(folder)
    if calls is None or (loaded_first and not {*calls.models} - {*loaded_first}):
        return
    config = parse(text)
    if config.backend not in ("", "python") or config.platform:
        return  # what lies there is not its source
    name = folder.name
    called = ", ".join(calls.models) if calls.named else ", ".join([*calls.models, "models named at run time"])
    given = " ".join(f"--loaded-first {m}" for m in calls.models) or "--loaded-first MODEL"
    there = f"; --remove --model {name} takes away the blocks that it has" if pbtxt.own_span(text) else ""
    raise CallsOthersError(
        f"model {name}: {calls.where} calls {called}; Triton would warm it before such calls are answered, which "
        f"fails the load and can crash the server (signal 11): leave it to 'kserve-warmup gate', which warms it once "
        f"all are loaded; or load them before {name} in explicit mode, one by one once the server is up, and say "
        f"{given}{there}"
    )


def find_calls(folder: Path) -> ModelCalls | None:
    """Return the calls of other models in a Python model's source, None where there are none."""
    seen = [Source.of(file, folder) for file in _files(folder)]
    if not (any(s.request for s in seen) and any(s.runs for s in seen)):
        return None
    where = next(s.request for s in seen if s.request)
    names = {name for s in seen for name in s.models}
    return ModelCalls(where, tuple(sorted(n for n in names if n)), bool(names) and None not in names)


@dataclass(frozen=True, slots=True)
class Source:
    """What one file has of a call: where a request is made, whether something is run, and the models' names.

    A name that is worked out at run time is None.
    """

    request: str = ""
    runs: bool = False
    models: tuple[str | None, ...] = ()

    @classmethod
    def of(cls, file: Path, folder: Path) -> Source:
        """Read a file; what is no Python of this version is looked at as text."""
        where = file.relative_to(folder if folder in file.parents else folder.parent)
        try:
            content = read_regular(file)
        except OSError:
            return cls()
        if not _WORTH_PARSING.search(content):
            return cls()  # most files; parsing takes milliseconds
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            text = content.decode("utf-8", "replace")
            found = _BY_TEXT.search(text)
            line = text.count("\n", 0, found.start()) + 1 if found else 0
            return cls(f"{where}:{line}" if found else "", "exec(" in text, (None,) if found else ())
        return cls._of(tree, str(where))

    @classmethod
    def _of(cls, tree: ast.Module, where: str) -> Source:
        nodes = list(_values(tree))
        aliases = set(_aliases(nodes))
        made = next((line for n in nodes if (line := _line_of_request(n, aliases))), None)
        runs = any(_attribute(node) in RUNS for node in nodes if not isinstance(node, ast.Name))  # a name: Python's own
        if made is None:
            return cls(runs=runs)
        return cls(f"{where}:{made}", runs, tuple(_models(nodes, aliases, dict(_constants(tree)))))


def _files(folder: Path) -> list[Path]:
    """Return a model's own source, and modules beside the model that it imports (``sys.path`` reaches them)."""
    inside = sorted(f for f in folder.rglob("*.py") if "site-packages" not in f.parts)[:MOST_FILES]
    beside = {file.stem: file for file in folder.parent.glob("*.py")}
    own = [file for file in inside if not _TESTS.fullmatch(file.stem)]
    if beside:
        wanted = {name for file in own for name in _imported(file)}
        own += [file for name, file in sorted(beside.items()) if name in wanted]
    return own


def _imported(file: Path) -> Iterator[str]:
    try:
        nodes = list(ast.walk(ast.parse(read_regular(file))))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # importlib, __import__
            yield node.value.partition(".")[0]


def _values(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of what runs: no annotation, and nothing that is only asked whether it is of a class."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        children: Iterable[object] = value if isinstance(value, list) else (value,)
        if name == "args" and isinstance(node, ast.Call) and _attribute(node.func) in _TYPED:
            children = [child for child in children if _attribute(child) != REQUEST]
        for child in children:
            if isinstance(child, ast.AST):
                yield from _values(child)


def _attribute(node: object) -> str | None:
    """Return the last name of an expression, or the text of one that ``getattr`` may be given."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _aliases(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names under which the class is imported."""
    yield REQUEST
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname for alias in node.names if alias.name == REQUEST and alias.asname)


def _line_of_request(node: ast.AST, aliases: set[str]) -> int | None:
    """Return the line of what names the class as a value, None for anything else."""
    bound = isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    return node.lineno if isinstance(node, ast.expr) and not bound and _attribute(node) in aliases else None


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module's names for text."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((target.id, node.value.value) for target in node.targets if isinstance(target, ast.Name))


def _models(nodes: Sequence[ast.AST], aliases: set[str], constants: dict[str, str]) -> Iterator[str | None]:
    """Yield the names of called models; ``model_name`` may be given through any helper, as a keyword."""
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        given = next((k.value for k in node.keywords if k.arg == "model_name"), None)
        if isinstance(given, ast.Name):
            yield constants.get(given.id)
        elif isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield given.value
        elif given is not None or _attribute(node.func) in aliases:
            yield None
