"""Tables → requests: the columns of a table are inputs, or are put together to inputs as the options say.

A table whose columns are those of KServe's inference logger holds a recorded request in each row instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import Array, Tensor
from kserve_warmup.sampling.formats import kserve_logger
from kserve_warmup.sampling.formats.record import Answer, BadRecord, ReadOptions, Record, converted
from kserve_warmup.sampling.formats.rows import batches, made_of, typed

CHUNK = 4096
"""Rows that are turned into requests together."""

LOGGED = ("bytes", "contenttype", "reqtype", "metadata", "id")
"""The columns of KServe's logger that are needed, in lower case; metadata and id may be missing."""

Cells = Sequence[Any] | Array


def is_logged(names: Iterable[str]) -> bool:
    """Return whether a table with these columns comes from KServe's logger."""
    return {"bytes", "reqtype"} <= {name.lower() for name in names}


def logged(
    rows: Iterable[Sequence[Any]], names: Sequence[str], file: str, first: int, options: ReadOptions
) -> Iterator[Record | BadRecord]:
    """Yield the requests in rows of KServe's logger; ``first`` is the number of the first row."""

    def made(row: Sequence[Any], *at: Any) -> Record | Answer:
        if len(row) != len(names):
            raise SampleError(f"the row has {len(row)} cells instead of {len(names)}")
        return kserve_logger.request(dict(zip(names, row, strict=True)), *at)

    return converted(
        ((number, "row", row) for number, row in enumerate(rows, first)), made, file, answers=options.answers
    )


def needed(names: Sequence[str], options: ReadOptions) -> list[str]:
    """Return the columns that the requests are made of: all of them, or those that the options name.

    Raises:
        SampleError: the table lacks one that the options name.
    """
    if is_logged(names):
        return [name for name in names if name.lower() in LOGGED]
    wanted = [name for columns in options.columns.values() for name in columns]
    if missing := set(wanted) - set(names):
        raise SampleError(f"there is no column {', '.join(sorted(missing))}: the columns are {', '.join(names)}")
    return list(dict.fromkeys(wanted)) or list(names)


def requests(table: Mapping[str, Cells], options: ReadOptions, file: str, first: int) -> Iterator[Record | BadRecord]:
    """Yield requests made of rows; a row that does not fit the others is a bad record.

    Args:
        table: cells by column; all columns have the same number of rows.
        options: types and shapes of inputs, columns by input, rows in a request.
        file: the table's file.
        first: number of the first row, for messages.
    """
    rows = len(next(iter(table.values()), ()))
    if first == 1 and (smallest := min(options.batch_sizes)) > rows:
        yield BadRecord(file, f"a batch of {smallest} cannot be made of {rows} rows: choose other --batch-sizes")
        return
    yield from _requests(table, rows, options, file, first)


def _requests(
    table: Mapping[str, Cells], rows: int, options: ReadOptions, file: str, first: int
) -> Iterator[Record | BadRecord]:
    groups = options.columns or {name: (name,) for name in table}
    try:
        inputs = {name: _input(name, [table[c] for c in columns], options) for name, columns in groups.items()}
        for number, tensors in enumerate(_tensors(inputs, rows, options), first):
            yield made_of(tensors, file, number, "row")
    except SampleError as error:
        if rows == 1:
            yield BadRecord(file, str(error), first, "row")
            return
        half = rows // 2  # the bad row is in one of the halves, the other one is of use
        for start, stop in ((0, half), (half, rows)):
            cells = {name: column[start:stop] for name, column in table.items()}
            yield from _requests(cells, stop - start, options, file, first + start)


def _tensors(inputs: Mapping[str, Array], rows: int, options: ReadOptions) -> Iterator[list[Tensor]]:
    datatypes = {name: spec.datatype for name, spec in options.inputs.items()}
    if 0 in options.batch_sizes:
        tensors = [typed(name, array, datatypes.get(name)) for name, array in inputs.items()]
        for row in range(rows):
            yield [Tensor(t.name, t.datatype, np.asarray(t.data[row], t.data.dtype)) for t in tensors]
    sizes = tuple(size for size in options.batch_sizes if 0 < size <= rows)
    yield from batches(inputs, sizes, datatypes)


def _input(name: str, columns: list[Cells], options: ReadOptions) -> Array:
    """Return an input of all rows: one column as it is, several side by side, in the shape that was declared."""
    arrays = [_array(name, cells) for cells in columns]
    whole = arrays[0] if name not in options.columns else np.stack(arrays, axis=1)
    spec = options.inputs.get(name)
    if spec is None or not spec.shape:
        return whole
    try:
        return whole.reshape(len(whole), *spec.shape)
    except ValueError:
        count = whole[0].size if len(whole) else 0
        raise SampleError(f"input {name!r}: a row has {count} values, which is not {list(spec.shape)}") from None


def _array(name: str, cells: Cells) -> Array:
    """Return a column as an array: numbers as numbers, text as text, lists of one length as a further dimension."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind != "O":
        return cells
    try:
        array = np.array(list(cells))
    except ValueError:
        raise SampleError(f"input {name!r}: its rows differ in length") from None
    if array.dtype.kind == "O":
        way = f"one type for all rows can be given, such as --input '{name}:FP64' or '{name}:BYTES'"
        raise SampleError(f"input {name!r}: a cell is empty, or of another type than the others: {way}")
    return array
