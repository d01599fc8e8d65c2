"""TensorFlow Serving's warm-up files, one written by TensorFlow itself; see tests/data/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from kserve_warmup.protocols.bodies import decode
from kserve_warmup.sampling.formats.record import BadRecord
from kserve_warmup.sampling.reader import read

GOLDEN = Path(__file__).parents[1] / "data" / "traffic" / "tf_serving_warmup_requests"


def tensors(sample) -> dict[str, tuple[str, list]]:
    found = decode(sample.protocol, sample.body, sample.headers)
    return {t.name: (t.datatype, t.data.tolist()) for t in found}


def test_tensorflows_own_records_are_read_without_tensorflow():
    *found, bad = read([GOLDEN])
    assert [tensors(sample) for sample in found] == [
        {"x": ("FP32", [[0.5, 1.5]])},
        {"x": ("FP32", [[3, 3], [3, 3]])},
        {"text": ("BYTES", ["café".encode(), b"\xff"]), "flag": ("BOOL", [True, False])},
        {
            "half": ("FP16", [0.5, -2]),
            "brain": ("BF16", [0.5, -2]),
            "long": ("INT64", [2**40, -1]),
            "byte": ("UINT8", [0, 255]),
        },
        {"half": ("FP16", 0.5)},
    ]
    assert {sample.protocol for sample in found} == {"v2-binary"}
    assert "classify_log" in bad.reason
    assert bad.where == f"{GOLDEN}: record 6"


def test_a_damaged_record_is_skipped_and_the_others_are_read(tmp_path):
    content = bytearray(GOLDEN.read_bytes())
    content[40] ^= 1  # in the first record's data
    (tmp_path / "damaged").write_bytes(content)
    bad, *others, _ = read([tmp_path / "damaged"])
    assert bad == BadRecord(str(tmp_path / "damaged"), "the record is damaged: its CRC-32C differs", 1)
    assert len(others) == 4


@pytest.mark.parametrize("length", [1, 8, 12, 90])
def test_a_truncated_file_gives_what_it_has_and_says_where_it_ends(tmp_path, length):
    (tmp_path / "short").write_bytes(GOLDEN.read_bytes()[:-length])
    found = list(read([tmp_path / "short"], form="tf-serving"))
    assert isinstance(found[-1], BadRecord)
    assert found[-1].number == len(found)
    assert len(found) >= 4
    assert not any(isinstance(r, BadRecord) for r in found[:3])


def test_a_damaged_length_ends_the_reading(tmp_path):
    content = bytearray(GOLDEN.read_bytes())
    content[0] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    (bad,) = read([tmp_path / "damaged"])
    assert "length is damaged" in bad.reason
