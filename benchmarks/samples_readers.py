"""Other ways to read the benchmarks' traffic, to compare ``sample`` with: each returns the strata it saw, if any."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pybase64

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import identify, json_body
from kserve_warmup.samples.sample import Signature, Stratum, TensorSpec
from kserve_warmup.sampling.place import stratum_of

Strata = Counter[Stratum]
PER_STRATUM = 3


def lines(files: list[Path]) -> Iterator[bytes]:
    """Yield the lines of all files."""
    for file in files:
        with file.open("rb", buffering=2**20) as stream:
            yield from stream


def with_loads(loads: Callable[[bytes], Any]) -> Callable[[list[Path]], Strata]:
    """Return the reader that parses each record and each JSON body whole, and keeps a reservoir of each stratum."""

    def read(files: list[Path]) -> Strata:
        def place(line: bytes) -> tuple[bytes, Stratum]:
            record = loads(line)
            body = base64.b64decode(record["bytes"])
            try:
                document = loads(body)
            except ValueError:
                return body, binary(body, record["metadata"])
            return body, stratum_of(json_body(document))

        return reservoir(map(place, lines(files)))

    return read


def binary(body: bytes, metadata: dict[str, list[str]]) -> Stratum:
    """Return the stratum of a body that is not JSON."""
    return stratum_of(identify(body, {name: values[0] for name, values in metadata.items()}))


class _Record(msgspec.Struct):
    bytes: str
    metadata: dict[str, list[str]]


class _Item(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class _V2(msgspec.Struct):
    inputs: list[_Item]


def with_raw_data(files: list[Path]) -> Strata:
    """Parse each record and body by msgspec, the data of v2 inputs left raw."""
    record_of, v2_of = msgspec.json.Decoder(_Record), msgspec.json.Decoder(_V2)

    def place(line: bytes) -> tuple[bytes, Stratum]:
        record = record_of.decode(line)
        body = base64.b64decode(record.bytes)
        try:
            items = v2_of.decode(body).inputs
        except (msgspec.DecodeError, msgspec.ValidationError):
            return body, _other(body, record.metadata)
        batch = items[0].shape[0]
        specs = sorted(TensorSpec(i.name, i.datatype, tuple(i.shape[1:])) for i in items)
        return body, Stratum("v2", "infer", Signature(tuple(specs)), batch)

    return reservoir(map(place, lines(files)))


def _other(body: bytes, metadata: dict[str, list[str]]) -> Stratum:
    try:
        document = orjson.loads(body)
        return stratum_of(json_body(document))
    except (orjson.JSONDecodeError, SampleError):
        return binary(body, metadata)


def reservoir(placed: Iterator[tuple[bytes, Stratum]]) -> Strata:
    """Count strata and keep a random few bodies of each."""
    counts: Strata = Counter()
    kept: dict[Stratum, list[bytes]] = defaultdict(list)
    source = random.Random(0)
    for body, stratum in placed:
        counts[stratum] += 1
        bodies = kept[stratum]
        if len(bodies) < PER_STRATUM:
            bodies.append(body)
        elif (place := source.randrange(counts[stratum])) < PER_STRATUM:
            bodies[place] = body
    return counts


def only_base64(decode: Callable[..., bytes]) -> Callable[[list[Path]], None]:
    """Return the reader that finds each body, decodes its base64, and does nothing else."""

    def read(files: list[Path]) -> None:
        for line in lines(files):
            start = line.index(b'"bytes": "') + 10
            decode(line[start : line.index(b'"', start)])

    return read


def duckdb_scan(files: list[Path]) -> None:
    """Let DuckDB read all lines and add up their lengths, on one thread."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    names = [str(file) for file in files]
    if names[0].endswith(".parquet"):
        connection.execute("SELECT sum(strlen(bytes)) FROM read_parquet(?)", [names]).fetchall()
        return
    options = "columns = {'line': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false"
    options += ", auto_detect = false, max_line_size = 10000000"
    connection.execute(f"SELECT sum(strlen(line)) FROM read_csv(?, {options})", [names]).fetchall()


READERS: dict[str, Callable[[list[Path]], Strata | None]] = {
    "json": with_loads(json.loads),
    "orjson": with_loads(orjson.loads),
    "msgspec, data raw": with_raw_data,
    "base64 only": only_base64(base64.b64decode),
    "pybase64 only": only_base64(pybase64.b64decode),
    "duckdb scan": duckdb_scan,
}
