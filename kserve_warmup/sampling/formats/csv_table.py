"""CSV tables with a header: KServe logger's, or bare columns that become inputs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec
from itertools import islice
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Array
from kserve_warmup.sampling.formats import cells as cell_values
from kserve_warmup.sampling.formats import columns
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.formats.storage import UNREADABLE, opened

_DELIMITERS = ",\t;|"
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_BOM = "\ufeff"
_LONGEST_HEAD = 1 << 24


def _csv(longest: int) -> Any:
    """Return the C module of the standard ``csv``, loaded anew with a limit of its own for the characters of a cell.

    ``csv.field_size_limit`` is the whole process's, and a library has no business with it.
    """
    spec: Any = find_spec("_csv")
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.field_size_limit(longest)
    return module


def sniff(head: bytes) -> bool:
    """Return whether a file begins with a row of names and one with as many cells."""
    return _delimiter(head) is not None


def _delimiter(head: bytes) -> str | None:
    text = head.decode("utf-8", errors="replace").removeprefix(_BOM)
    if not text or text[0] in "{[" or "\0" in text or "\ufffd" in text[:256]:
        return None
    csv = _csv(_LONGEST_HEAD)
    for delimiter in _DELIMITERS:
        try:
            names, second = (*islice(csv.reader(io.StringIO(text), delimiter=delimiter), 2), [], [])[:2]
        except csv.Error:
            continue
        named = len(names) > 1 and all(n.strip() and not _NUMBER.fullmatch(n.strip()) for n in names)
        if named and len(set(names)) == len(names) and (len(second) == len(names) or not second or _cut(head)):
            return delimiter
    return None


def _cut(head: bytes) -> bool:
    """Return whether what was looked at ends in the middle of the second row: KServe's bodies are long."""
    return head.count(b"\n") == 1


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each row of a log, or for each batch of rows of a table."""
    csv = _csv(options.max_line)
    broken: tuple[type[Exception], ...] = (*UNREADABLE, UnicodeDecodeError, csv.Error)
    try:
        with opened(part.file) as stream:
            head = stream.readline(_LONGEST_HEAD).removeprefix(_BOM.encode())
            delimiter = _delimiter(head) or ","
            names: list[str] = next(csv.reader([head.decode()], delimiter=delimiter), [])
            text = io.TextIOWrapper(stream, "utf-8", newline="")
            rows = _Rows(csv.reader(_lines(text, options.max_line), delimiter=delimiter), broken)
            yield from _requests(names, rows, options, part.file)
            if rows.error:
                yield BadRecord(part.file, _no_further(rows.error), rows.number + 1, "row")
    except SampleError as error:
        yield BadRecord(part.file, str(error))
    except broken as error:
        yield BadRecord(part.file, _no_further(error), 1, "line")


class _Rows:
    """The rows of a table as far as it can be read: how many there were, and then why no more."""

    def __init__(self, rows: Iterator[list[str]], broken: tuple[type[Exception], ...]) -> None:
        """Take the rows, and what they raise where the file is broken."""
        self._rows = rows
        self._broken: tuple[type[Exception], ...] = (*broken, SampleError)
        self.number = 0
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[list[str]]:
        try:
            for row in self._rows:
                self.number += 1
                yield row
        except self._broken as error:
            self.error = error


def _no_further(error: Exception) -> str:
    why = str(error)
    if why.startswith("new-line character"):  # what csv says further is to the programmer who opened the file
        why = "a carriage return that ends no line stands in a cell without quotes"
    return f"cannot be read any further: {why}"


def _requests(names: list[str], rows: _Rows, options: ReadOptions, file: str) -> Iterator[Record | BadRecord]:
    if columns.is_logged(names):
        for number, row in enumerate(rows, 1):
            yield from columns.logged([row], names, file, number, options)
        return
    for number, table in _chunks(names, iter(rows), options, file):
        if isinstance(table, BadRecord):
            yield table
        else:
            yield from columns.requests(table, options, file, number)


def _lines(text: io.TextIOWrapper, most: int) -> Iterator[str]:
    """Yield the lines of a text.

    Raises:
        SampleError: one is longer than ``most`` characters.
    """
    while line := text.readline(most):
        if len(line) >= most:
            raise SampleError(f"a line is longer than {most:,} characters")
        yield line


def _chunks(
    names: list[str], rows: Iterator[list[str]], options: ReadOptions, file: str
) -> Iterator[tuple[int, dict[str, Array] | BadRecord]]:
    """Yield columns of a few thousand rows each with the number of the first one, and rows of a wrong length."""
    wanted = columns.needed(names, options)
    kinds = _declared(options)
    number = 1
    while chunk := list(islice(rows, columns.CHUNK)):
        good = []
        for offset, row in enumerate(chunk):
            if len(row) == len(names):
                good.append(row)
            else:
                reason = f"the row has {len(row)} cells instead of {len(names)}"
                yield number, BadRecord(file, reason, number + offset, "row")
        cells = dict(zip(names, zip(*good, strict=True), strict=True)) if good else {}
        if cells:
            yield number, {name: _parsed(cells[name], kinds, name) for name in wanted}
        number += len(chunk)


def _declared(options: ReadOptions) -> dict[str, Any]:
    """Return the kinds of the columns whose inputs' types the options tell."""
    groups = {column: name for name, group in options.columns.items() for column in group}
    types = {name: spec.datatype for name, spec in options.inputs.items()}
    columns_of = {**{name: name for name in types}, **groups}
    return {column: _kind_of(types[name]) for column, name in columns_of.items() if name in types}


def _kind_of(datatype: str) -> Any:
    if datatype == BYTES:
        return str
    return _boolean if datatype == "BOOL" else _integer if datatype.startswith(("INT", "UINT")) else _real


def _parsed(cells: tuple[str, ...], kinds: dict[str, Any], name: str) -> Array:
    """Return a column's cells in the type that the first rows of the file have; what does not fit is None."""
    if name not in kinds:
        kinds[name] = next((kind for kind in (_integer, _real, _boolean) if _fits(cells, kind)), str)
    values = np.array(cells)
    if kinds[name] is str:
        return values
    joined = "".join(cells)
    if (
        kinds[name] is not _boolean and joined.isascii() and "_" not in joined
    ):  # then numpy takes what a CSV reader does
        try:
            return values.astype(np.int64 if kinds[name] is _integer else np.float64)
        except (ValueError, OverflowError):
            pass
    return np.array([_or_none(cell, kinds[name]) for cell in cells])


def _fits(cells: tuple[str, ...], kind: Any) -> bool:
    """Return whether most cells are of a kind: one typing error must not make text of numbers."""
    sample = cells[:100]
    return sum(_or_none(cell, kind) is not None for cell in sample) > len(sample) / 2


def _or_none(cell: str, kind: Any) -> Any:
    try:
        return kind(cell)
    except (ValueError, KeyError, OverflowError):
        return None


def _integer(cell: str) -> Any:
    return np.int64(cell_values.integer(cell))


def _real(cell: str) -> Any:
    return np.float64(cell_values.real(cell))


def _boolean(cell: str) -> bool:
    return _BOOLEANS[cell.strip().lower()]
