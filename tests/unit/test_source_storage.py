"""Traffic in object stores, and compressed in every way; fsspec's own in-memory store stands for one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from kserve_warmup.errors import MissingPackageError, SampleError
from kserve_warmup.sampling.formats import jsonl, storage
from kserve_warmup.sampling.formats.record import BadRecord, ReadOptions
from kserve_warmup.sampling.reader import find_files, plan, read, sample_traffic

LINES = b"".join(b'{"instances": [%d]}\n' % number for number in range(50_000))
V1 = b'{"instances": [[1, 2]]}'
ZSTD = zstandard.ZstdCompressor(write_checksum=True)  # as the zstd command does
COMPRESSORS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": ZSTD.compress,
    "two frames.zst": lambda data: b"".join(ZSTD.compress(d) for d in (data[:70], data[70:])),
}


@pytest.fixture
def bucket():
    """An empty bucket; what a test puts there is gone after it."""
    system = fsspec.filesystem("memory")
    system.mkdir("/bucket")
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_files_are_read_whatever_their_name(tmp_path, kind):
    packed = COMPRESSORS[kind](LINES)
    (tmp_path / "traffic").write_bytes(packed)
    found = list(read([tmp_path / "traffic"]))
    assert b"".join(s.body + b"\n" for s in found) == LINES
    assert storage.compressed(str(tmp_path / "traffic"))


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_truncated_compressed_file_gives_what_it_has_and_says_where_it_ends(tmp_path, kind):
    packed = COMPRESSORS[kind](LINES)
    (tmp_path / "traffic").write_bytes(packed[: len(packed) * 2 // 3])
    *found, bad = read([tmp_path / "traffic"], form="jsonl")
    assert isinstance(bad, BadRecord)
    assert "\n" not in bad.reason
    assert all(not isinstance(record, BadRecord) for record in found[:-1])
    assert len(found) < 50_000


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_damaged_compressed_file_is_a_bad_record_and_no_error(tmp_path, kind):
    packed = bytearray(COMPRESSORS[kind](LINES))
    for position in range(len(packed) // 2, len(packed) // 2 + 40):
        packed[position] ^= 0x55
    (tmp_path / "traffic").write_bytes(packed)
    assert any(isinstance(record, BadRecord) for record in read([tmp_path / "traffic"], form="jsonl"))


def test_files_folders_and_globs_of_an_object_store_are_found_and_hidden_ones_left_out(bucket):
    for name in ("a.jsonl", "sub/b.jsonl", "sub/.c.jsonl", ".d/e.jsonl", "other.txt"):
        bucket.pipe(f"/bucket/day/{name}", V1)
    assert find_files(["memory://bucket/day/a.jsonl"]) == ["memory:///bucket/day/a.jsonl"]
    everything = ["a.jsonl", "other.txt", "sub/b.jsonl"]
    assert find_files(["memory://bucket/day"]) == [f"memory:///bucket/day/{name}" for name in everything]
    assert find_files(["memory://bucket/*/*.jsonl", "memory://bucket/day/a.jsonl"]) == ["memory:///bucket/day/a.jsonl"]
    for nothing in ("memory://bucket/night", "memory://bucket/*.csv"):
        with pytest.raises(SampleError, match="no such file"):
            find_files([nothing])


def test_every_kind_of_file_is_read_from_an_object_store(bucket, tmp_path):
    np.savez(tmp_path / "rows.npz", a=np.arange(3))
    parquet.write_table(pa.Table.from_pylist([{"a": 1}, {"a": 2}]), tmp_path / "table.parquet")
    for name in ("rows.npz", "table.parquet"):
        bucket.put_file(str(tmp_path / name), f"/bucket/{name}")
    bucket.pipe("/bucket/lines.jsonl.gz", gzip.compress(V1 + b"\n" + V1))
    bucket.pipe("/bucket/table.csv", b"a,b\n1,2\n")
    bucket.pipe("/bucket/body.json", b'{\n"instances": [1]}')
    samples, tally = sample_traffic(["memory://bucket"], "m")
    assert (tally.requests, tally.bad) == (9, 0)
    assert samples.source == "memory://bucket"


def test_no_secret_of_a_url_gets_into_a_set(bucket):
    bucket.pipe("/key:secret@bucket/a.jsonl", V1)
    samples, _ = sample_traffic(["memory://key:secret@bucket/a.jsonl"], "m")
    assert samples.source == "memory://bucket/a.jsonl"
    for url in ("s3://bucket/*/a.jsonl", "memory://bucket/a.jsonl", "plain/path?.jsonl"):
        assert storage.public(url) == url
    signed = "https://user:secret@store.example/a.jsonl?X-Amz-Signature=secret#secret"
    assert storage.public(signed) == "https://store.example/a.jsonl"


def test_a_large_file_of_an_object_store_is_split_as_a_local_one_is(bucket, tmp_path):
    bucket.pipe("/bucket/lines.jsonl", LINES)
    (tmp_path / "lines.jsonl").write_bytes(LINES)
    remote, local = (
        [r.body for part in jsonl.split(file, 100_000) for r in jsonl.read(part, ReadOptions())]
        for file in ("memory://bucket/lines.jsonl", str(tmp_path / "lines.jsonl"))
    )
    assert len(list(jsonl.split("memory://bucket/lines.jsonl", 100_000))) > 5
    assert remote == local == LINES.splitlines()
    ((form, part),) = plan(["memory://bucket/lines.jsonl"])
    assert (form, part.size) == ("", len(LINES))  # small enough for its reader to tell the format


def test_a_file_that_goes_away_is_a_bad_record(bucket):
    bucket.pipe("/bucket/lines.jsonl", V1)
    ((_, part),) = plan(["memory://bucket/lines.jsonl"])
    bucket.rm("/bucket/lines.jsonl")
    (bad,) = jsonl.read(part, ReadOptions())
    assert bad.reason.startswith("cannot be read any further")


@pytest.mark.parametrize(
    ("url", "reason"), [("s3://bucket/key", "s3fs"), ("nothing://bucket/key", "Protocol not known: nothing")]
)
def test_a_store_that_cannot_be_used_says_what_is_missing(url, reason):
    with pytest.raises((MissingPackageError, SampleError), match=reason) as caught:
        find_files([url])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("zstandard", lambda: zstandard.ZstdCompressor().compress(V1)),
        ("pyarrow", lambda: b"PAR1"),
        ("google_crc32c", lambda: b"\x01\0\0\0\0\0\0\0\0\0\0\0\x32"),
        ("fsspec", None),
    ],
)
def test_a_format_without_its_package_names_the_extra_that_brings_it(tmp_path, package, make):
    (tmp_path / "traffic").write_bytes(make() if make else b"")
    source = tmp_path / "traffic" if make else "memory://bucket"
    code = f"import sys; sys.modules[{package!r}] = None; from kserve_warmup.cli import main; main()"
    command = [sys.executable, "-c", code, "sample", str(source), "--out", str(tmp_path / "set"), "--model", "m"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"need {package.replace('_', '-')}: pip install 'kserve-warmup[sample]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
