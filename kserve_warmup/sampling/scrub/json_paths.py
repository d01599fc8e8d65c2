"""JSON paths that end: what they find in a document, with a bound on how much they look at.

Whoever sends a request chooses what a path has to search. So regular expressions run in an engine whose time grows
with the text alone (Rust's, which pydantic brings; Python's tries all ways to match, holding all other threads up), and
every value that is looked at counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

from pydantic_core import SchemaError, SchemaValidator, core_schema

from kserve_warmup.errors import MissingPackageError, SampleError

try:
    import jsonpath
    from jsonpath.filter import RegexLiteral, StringLiteral
    from jsonpath.function_extensions import ExpressionType, FilterFunction
    from jsonpath.parse import Parser
except ModuleNotFoundError:
    msg = "scrub rules with a path need python-jsonpath: pip install 'kserve-warmup[sample]'"
    raise MissingPackageError(msg) from None

STEPS = 1_000_000
"""Values that one path may look at in one request: seconds at most."""

PATH = 2000
"""Characters of a path."""

_DEEP = 4
"""Levels of a document that take as long as looking at a value."""

_WIDE = 16
"""Values that a filter passes over in that time."""

_SHOWN = 80

_STATES = 1000
"""Characters of text times states of a regular expression that take as long as looking at a value."""

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")

_left: ContextVar[list[int]] = ContextVar("_left")
"""How many steps the search under way may still take."""


def _spend(steps: int) -> None:
    left = _left.get()
    left[0] -= steps
    if left[0] < 0:
        raise SampleError(f"too large: the path looks at more than {STEPS:,} values")


class Expression:
    """A regular expression that takes time in proportion to the text."""

    def __init__(self, pattern: str, flags: str = "") -> None:
        """Compile it.

        Raises:
            ValueError: it is none, or one that looks back or ahead, which takes more than that.
        """
        self._weight = _weight(pattern)
        self._whole = _compiled(rf"{flags}\A(?:{pattern})\z")
        self._anywhere = _compiled(flags + pattern)

    def fullmatch(self, text: str) -> bool:
        """Return whether it matches all of a text."""
        return self._matches(self._whole, text)

    def search(self, text: str) -> bool:
        """Return whether it matches any part of a text."""
        return self._matches(self._anywhere, text)

    def _matches(self, validator: SchemaValidator, text: str) -> bool:
        _spend(len(text) * self._weight // _STATES)
        return validator.isinstance_python(_SURROGATES.sub("\ufffd", text))


def _compiled(pattern: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("SchemaError: ").removeprefix("error: ")
        raise ValueError(reason) from None


def _weight(pattern: str) -> int:
    """Return about how many states an expression has: its characters, as often as they are to be repeated."""
    total = last = 0
    outer: list[int] = []
    for piece in _PIECE.finditer(pattern):
        if piece[0] == "(":
            outer.append(total)
            total = 0
        elif piece[0] == ")" and outer:
            last = total + 1
            total = outer.pop() + last
        elif piece[1]:
            times = max(int(piece[1]), int(piece[2] or 0), 1)
            total += last * (times - 1)
            last *= times
        else:
            last = 1
            total += 1
    return total


@cache
def expression(pattern: str) -> Expression:
    """Return a compiled expression."""
    return Expression(pattern)


class _Match(jsonpath.JSONPathMatch):
    """A value on the way to what a path finds. It counts, and keeps neither the ways that lead nowhere nor its name."""

    def __init__(self, **facts: Any) -> None:
        inside = len(facts["obj"]) if isinstance(facts["obj"], (list, dict)) else 0
        _spend(1 + len(facts["parts"]) // _DEEP + inside // _WIDE)  # it passes through a generator a level
        super().__init__(**facts)

    def add_child(self, *children: jsonpath.JSONPathMatch) -> None:
        pass

    def new_child(self, obj: object, key: int | str) -> _Match:
        context = self.filter_context()
        return _Match(filter_context=context, obj=obj, parent=self, parts=(*self.parts, key), path="", root=self.root)


class _Path(jsonpath.JSONPath):
    """A path, or one inside of another's filter, whose matches count."""

    __slots__ = ()

    def finditer(self, data: Any, *, filter_context: Any = None) -> Iterable[jsonpath.JSONPathMatch]:
        root = [data] if self.pseudo_root else data
        context = filter_context or {}
        matches: Iterable[jsonpath.JSONPathMatch]
        matches = [_Match(filter_context=context, obj=root, parent=None, parts=(), path="", root=data)]
        for segment in self.segments:
            matches = segment.resolve(matches)
        return matches


class _Matches(FilterFunction):
    """``match`` or ``search``."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012  (the base class has it so)
    return_type = ExpressionType.LOGICAL

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, value: object, pattern: str) -> bool:
        compiled = expression(pattern)
        return isinstance(value, str) and (compiled.search if self.name == "search" else compiled.fullmatch)(value)


class _Parser(Parser):
    def parse_absolute_query(self, stream: Any) -> Any:
        return _counting(super().parse_absolute_query(stream))

    def parse_relative_query(self, stream: Any) -> Any:
        return _counting(super().parse_relative_query(stream))

    def parse_regex(self, stream: Any) -> Any:
        pattern = cast("RegexLiteral", super().parse_regex(stream)).value
        flags = "".join(flag for flag in "ims" if pattern.flags & self.RE_FLAG_MAP[flag])
        return RegexLiteral(value=cast("Any", Expression(pattern.pattern, f"(?{flags})" if flags else "")))


def _counting(query: Any) -> Any:
    """Make the paths that a query consists of count."""
    for path in (query.path, *(path for _, path in getattr(query, "paths", ()))):
        path.__class__ = _Path  # the library has no other way: it makes them itself
    return query


class _Environment(jsonpath.JSONPathEnvironment):
    parser_class = _Parser

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions |= {name: _Matches(name) for name in ("match", "search")}

    def check_well_typedness(self, token: Any, func: FilterFunction, args: list[Any]) -> None:
        super().check_well_typedness(token, func, args)
        if isinstance(func, _Matches):
            if not isinstance(args[1], StringLiteral):
                raise ValueError(f"{token.value} needs its regular expression written out")  # noqa: TRY004  (of the path, not of a call)
            try:
                expression(args[1].value)
            except ValueError as error:
                raise ValueError(f"the regular expression of {token.value}: {error}") from None


_ENVIRONMENT = _Environment()


@cache
def compiled(path: str) -> jsonpath.JSONPath | jsonpath.CompoundJSONPath:
    """Return a JSON path, ready to search with.

    Raises:
        ValueError: it is none.
    """
    if len(path) > PATH:
        raise ValueError(f"a path of {len(path):,} characters: write at most {PATH:,}")
    try:
        query = _ENVIRONMENT.compile(path)
    except Exception as error:  # noqa: BLE001  (its parser meets nonsense with errors of many kinds)
        reason = "it is nested too deep" if isinstance(error, RecursionError) else " ".join(_first_line(error).split())
        shown = path if len(path) <= _SHOWN else path[:_SHOWN] + " …"
        raise ValueError(f"{shown!r} is no JSON path: {reason}") from None
    if isinstance(query, jsonpath.CompoundJSONPath):
        return cast("jsonpath.CompoundJSONPath", _counting(query))
    query.__class__ = _Path
    return query


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


Place = tuple[Any, Any, tuple[int | str, ...]]
"""A list or an object, the index or key in it, and the way there from the root."""


def found(path: str, document: dict[str, Any]) -> list[Place]:
    """Return the places that a path finds, each once, without the root and without those inside of others.

    Raises:
        SampleError: it looks at too much, or finds names instead of values.
    """
    token = _left.set([STEPS])
    try:
        matches = {match.parts: match for match in compiled(path).finditer(document) if match.parent is not None}
    finally:
        _left.reset(token)
    outermost = [parts for parts in matches if not any(parts[:end] in matches for end in range(1, len(parts)))]
    return list(_places(path, document, (matches[parts] for parts in outermost)))


def _places(path: str, document: dict[str, Any], matches: Iterator[Any]) -> Iterator[Place]:
    for match in matches:
        parent, key = match.parent.obj, match.parts[-1]
        if not isinstance(parent, (list, dict)) or (match.parent.parent is None and parent is not document):
            continue  # a piece of a text, or the root by another name
        if isinstance(parent, dict) and isinstance(key, int):
            key = str(key)  # $.a[0] finds {"a": {"0": …}} too
        if isinstance(parent, dict) and parent.get(key) is not match.obj:
            raise SampleError(f"path {path} finds names, which stay: give one that finds values")
        yield parent, key, match.parts
