"""Parquet tables: KServe logger's, or bare columns that become inputs; read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.extras import optional
from kserve_warmup.sampling.formats import columns
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.formats.storage import UNREADABLE, opened

_MAGIC = b"PAR1"
_BUFFER = 2**20
_LOGGED_ROWS = 32


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a Parquet one."""
    return head.startswith(_MAGIC)


@contextmanager
def _table(file: str) -> Iterator[Any]:
    parquet = optional("pyarrow.parquet", "Parquet files need")
    # Pages are read as they are needed: whole row groups in memory would grow with those of the file.
    with opened(file) as stream, parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER) as table:
        yield table


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of whole row groups, of about ``target`` bytes."""
    try:
        sizes = _sizes(file)
    except (*UNREADABLE, ValueError):
        yield Part.whole(file)  # reading it will tell what is wrong
        return
    start = pending = 0
    for number, size in enumerate(sizes, 1):
        pending += size
        if pending >= target or number == len(sizes):
            yield Part(file, start, number, pending)
            start, pending = number, 0


def _sizes(file: str) -> list[int]:
    with _table(file) as table:
        return [table.metadata.row_group(n).total_byte_size for n in range(table.num_row_groups)]


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each row of a log, or for each batch of rows of a table."""
    number = 0
    try:
        with _table(part.file) as table:
            names = columns.needed(table.schema_arrow.names, options)
            groups = list(range(part.start, table.num_row_groups if part.stop is None else part.stop))
            number = sum(table.metadata.row_group(group).num_rows for group in range(part.start))
            logged = columns.is_logged(names)
            size = _LOGGED_ROWS if logged else columns.CHUNK
            for batch in table.iter_batches(size, groups, names, use_threads=False):
                if logged:
                    cells = map(_cells, batch.schema.names, batch.columns)
                    yield from columns.logged(
                        zip(*cells, strict=True), batch.schema.names, part.file, number + 1, options
                    )
                else:
                    yield from columns.requests(batch.to_pydict(), options, part.file, number + 1)
                number += batch.num_rows
    except SampleError as error:
        yield BadRecord(part.file, str(error))
    except (*UNREADABLE, ValueError) as error:  # pyarrow's own errors are of these
        yield BadRecord(part.file, f"cannot be read any further: {' '.join(str(error).split())}", number + 1, "row")


def _cells(name: str, column: Any) -> list[Any]:
    """Return a column's values; bodies as views of the column's memory, which spares two copies of each."""
    if name.lower() != "bytes" or str(column.type) not in ("string", "binary") or column.null_count:
        return list(column.to_pylist())
    _, offsets, data = column.buffers()
    view = memoryview(data or b"")
    bounds = memoryview(offsets).cast("i")[column.offset : column.offset + len(column) + 1].tolist()
    return [view[start:stop] for start, stop in pairwise(bounds)]
