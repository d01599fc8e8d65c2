"""Requests from CSV and Parquet tables: KServe's logger's, and bare columns."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.formats import columns, csv_table, parquet_table
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions
from kserve_warmup.sampling.reader import read, sample_traffic

V1 = b'{"instances": [[1, 2], [3, 4]]}'
COLUMNS = (
    *("url", "bytes", "contentType", "reqType", "id", "sourceUri", "inferenceService", "namespace", "component"),
    *("endpoint", "metadata", "annotations", "certName", "tlsSkipVerify"),
)


def logged(body: bytes, kind: str = "request", metadata: dict | None = None) -> dict[str, str]:
    """A row as KServe's logger writes it (pkg/logger/marshaller_record.go)."""
    row = dict.fromkeys(COLUMNS, "") | {"contentType": "application/json", "tlsSkipVerify": "false", "id": "1"}
    row |= {"bytes": base64.b64encode(body).decode(), "reqType": f"org.kubeflow.serving.inference.{kind}"}
    return row | {"metadata": json.dumps(metadata) if metadata else ""}


def logged_rows() -> list[dict[str, str]]:
    binary, headers = encode("v2-binary", [Tensor("x", "FP32", np.array([[1.5, 2.5]], np.float32))])
    grpc, _ = encode("grpc", [Tensor("x", "FP32", np.array([[1.5, 2.5]], np.float32))])
    kept = {"Inference-Header-Content-Length": [headers["inference-header-content-length"]], "Authorization": ["x"]}
    bodies = [(V1, None), (binary, kept), (binary, None), (grpc, None)]
    return [logged(b'{"predictions": [1]}', "response"), *(logged(body, metadata=m) for body, m in bodies)]


def write_csv(file: Path, rows: list[dict]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_parquet(file: Path, rows: list[dict], **options) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), file, **options)
    return file


WRITERS = {"csv": write_csv, "parquet": write_parquet}


def tensors(sample) -> dict[str, list]:
    return {t.name: t.data.tolist() for t in decode(sample.protocol, sample.body, sample.headers)}


@pytest.mark.parametrize("form", WRITERS)
def test_a_logged_table_gives_the_requests_byte_for_byte_and_no_responses(tmp_path, form):
    rows = logged_rows()
    found = list(read([WRITERS[form](tmp_path / "traffic", rows)]))
    assert [s.protocol for s in found] == ["v1", "v2-binary", "v2-binary", "grpc"]
    assert [base64.b64encode(s.body).decode() for s in found] == [row["bytes"] for row in rows[1:]]
    assert all("authorization" not in s.headers for s in found)


@pytest.mark.parametrize("form", WRITERS)
def test_a_damaged_row_of_a_log_is_named_and_the_others_are_read(tmp_path, form):
    rows = [logged(V1), logged(V1) | {"bytes": "*"}, logged(b"?"), logged(V1)]
    file = WRITERS[form](tmp_path / "traffic", rows)
    first, second, third, fourth = read([file])
    assert (second.where, third.where) == (f"{file}: row 2", f"{file}: row 3")
    assert first == fourth


@pytest.mark.parametrize("form", WRITERS)
def test_columns_are_inputs_of_their_own_types(tmp_path, form):
    rows = [{"age": 30 + n, "score": n + 0.5, "text": f"é{n}"} for n in range(3)]
    first, *_, last = read([WRITERS[form](tmp_path / "traffic", rows)])
    assert str(first.signature) == "age:INT64[N] score:FP64[N] text:BYTES[N]"
    assert tensors(last) == {"age": [32], "score": [2.5], "text": ["é2".encode()]}


@pytest.mark.parametrize("form", WRITERS)
def test_columns_are_put_together_to_inputs_as_the_options_say(tmp_path, form):
    rows = [{"id": f"row{n}", "a": n, "b": n + 1, "c": 10, "d": 11, "e": n} for n in range(5)]
    options = ReadOptions(
        batch_sizes=(1, 4),
        inputs={"x": TensorSpec("x", "FP32", (2, 2))},
        columns={"x": ("a", "b", "c", "d"), "y": ("e",)},
    )
    found = list(read([WRITERS[form](tmp_path / "traffic", rows)], options=options))
    assert [s.batch for s in found] == [1, 1, 1, 1, 1, 4]
    assert str(found[0].signature) == "x:FP32[N,2,2] y:INT64[N,1]"
    assert tensors(found[1]) == {"x": [[[1, 2], [10, 11]]], "y": [[1]]}


def test_rows_without_a_batch_dimension_are_requests_as_they_are(tmp_path):
    rows = [{"a": n, "text": f"{n}"} for n in range(2)]
    found = list(read([write_csv(tmp_path / "traffic", rows)], options=ReadOptions(batch_sizes=(0,))))
    assert [tensors(s) for s in found] == [{"a": 0, "text": 0}, {"a": 1, "text": 1}]


def test_lists_in_a_parquet_table_are_a_further_dimension_and_uneven_ones_are_requests_of_their_own(tmp_path):
    rows = [{"tokens": [1] * length, "image": [[0.5, 1.5]] * 2} for length in (3, 3, 5, 3)]
    found = list(read([write_parquet(tmp_path / "traffic", rows)]))
    assert [str(s.signature) for s in found] == [f"image:FP64[N,2,2] tokens:INT64[N,{n}]" for n in (3, 3, 5, 3)]


def test_a_row_that_does_not_fit_is_named_and_the_others_are_used(tmp_path):
    lines = ["a,b", *(f"{n},{n}.5" for n in range(20))]
    lines[5], lines[9], lines[15] = "1,x", "1", "300,1.5"
    (tmp_path / "table.csv").write_text("\n".join(lines))
    options = ReadOptions(inputs={"a": TensorSpec("a", "UINT8", ())})
    found = list(read([tmp_path / "table.csv"], options=options))
    bad = sorted((b.number, b.reason) for b in found if isinstance(b, BadRecord))
    assert [number for number, _ in bad] == [5, 9, 14]  # the row of a wrong length is left out before the others
    assert "'b'" in bad[0][1]
    assert "1 cells instead of 2" in bad[1][1]
    assert "UINT8" in bad[2][1]
    assert len(found) == 20


def test_other_delimiters_and_a_byte_order_mark_are_understood(tmp_path):
    for number, text in enumerate(("\ufeffa;b\n1;2\n", "a\tb\n1\t2\n", '"a","b"\r\n"1","2"\r\n')):
        (tmp_path / f"{number}.csv").write_text(text, newline="")
    assert [tensors(s) for s in read([tmp_path])] == [{"a": [1], "b": [2]}] * 3


def test_a_parquet_file_is_split_at_row_groups_and_its_parts_give_the_same_rows(tmp_path):
    rows = [logged(b'{"instances": [[%d, 2]]}' % n) for n in range(100)]
    file = write_parquet(tmp_path / "traffic.parquet", rows, row_group_size=10)
    parts = list(parquet_table.split(str(file), 3000))
    assert len(parts) > 3
    assert (parts[0].start, parts[-1].stop) == (0, 10)
    found = [r for part in parts for r in parquet_table.read(part, ReadOptions())]
    assert found == list(parquet_table.read(Part.whole(file), ReadOptions()))
    assert [r.number for r in found] == list(range(1, 101))


def test_a_damaged_parquet_file_is_one_bad_record(tmp_path):
    file = write_parquet(tmp_path / "traffic.parquet", [logged(V1)])
    content = file.read_bytes()
    for damaged in (content[:-20], content[: len(content) // 2]):
        file.write_bytes(damaged)
        (bad,) = read([file])
        assert isinstance(bad, BadRecord)
        assert "\n" not in bad.reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ReadOptions(columns={"x": ("a", "nothing")}), "no column nothing: the columns are a, b"),
        (ReadOptions(inputs={"a": TensorSpec("a", "FP32", (7,))}), "a row has 1 values, which is not"),
        (ReadOptions(batch_sizes=(8,)), "cannot be made of 2 rows"),
    ],
)
@pytest.mark.parametrize("form", WRITERS)
def test_options_that_do_not_fit_a_table_say_why(tmp_path, form, options, reason):
    file = WRITERS[form](tmp_path / "traffic", [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    found = list(read([file], options=options))
    assert all(isinstance(bad, BadRecord) for bad in found)
    assert reason in found[0].reason


@pytest.mark.parametrize("form", WRITERS)
def test_a_table_of_many_chunks_becomes_a_sample_set(tmp_path, form):
    rows = [{"a": n, "b": n / 2} for n in range(10_000)]
    samples, tally = sample_traffic([WRITERS[form](tmp_path / "traffic", rows)], "m")
    assert (tally.requests, tally.bad, len(samples)) == (10_000, 0, 3)


def test_text_that_is_no_table_is_not_taken_for_one(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear all, this is\nno table\n")
    with pytest.raises(SampleError, match="neither JSON"):
        sample_traffic([tmp_path / "notes.txt"], "m")


def test_the_limit_of_a_csv_cell_is_each_readers_own_and_the_process_keeps_its_own(tmp_path):
    before = csv.field_size_limit()
    body = b'{"instances": [[%s]]}' % b", ".join([b"1.25"] * 200_000)  # a cell larger than the process's limit
    files = [write_csv(tmp_path / name, [logged(body), logged(body)]) for name in ("wide", "narrow")]
    wide, narrow = (
        iter(read([file], options=ReadOptions(max_body=most))) for file, most in zip(files, (2**24, 2**10), strict=True)
    )
    assert next(wide).body == body
    assert csv.field_size_limit() == before
    assert [type(found) for found in narrow] == [BadRecord]
    assert [found.body for found in wide] == [body]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("content", [b">>\rk\x06", b"a,b\r1,2\r3,4\r"])
def test_a_csv_whose_first_line_holds_a_carriage_return_is_told_in_one_line(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    assert not csv_table.sniff(content)
    (bad,) = csv_table.read(Part.whole(str(tmp_path / "table.csv")), ReadOptions())
    assert bad.where == f"{tmp_path / 'table.csv'}:1"
    assert bad.reason.endswith("a carriage return that ends no line stands in a cell without quotes")


def test_the_rows_of_a_csv_up_to_where_it_is_broken_are_read_and_the_place_is_told(tmp_path):
    sound = 7000
    (tmp_path / "table.csv").write_bytes(b"a,b\n" + b"1,2\n" * sound + b"\xff,2\n" + b"1,2\n" * sound)
    *requests, bad = csv_table.read(Part.whole(str(tmp_path / "table.csv")), ReadOptions())
    assert isinstance(bad, BadRecord)
    assert (bad.number, bad.unit) == (len(requests) + 1, "row")
    assert columns.CHUNK < len(requests) <= sound  # text is decoded in blocks, and nothing of the broken one comes out
