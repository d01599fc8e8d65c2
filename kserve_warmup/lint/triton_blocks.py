"""Rules about what a Triton model's ``model_warmup`` blocks say, most of which Triton takes without a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kserve_warmup.lint.findings import Knowledge, Problem, Rule, Severity
from kserve_warmup.lint.triton_models import TritonModel
from kserve_warmup.protocols.generated.model_config_pb2 import DataType
from kserve_warmup.triton.rules import SIZES

GENERATE = "kserve-warmup triton REPOSITORY --samples DIR writes blocks from real requests"

_HEAD = """\
max_batch_size: 8
input { name: "X" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }
"""


def example(
    batch: str = "batch_size: 1", data: str = 'input_data_file: "x.bin"', count: int = 2, size: int = 8
) -> Mapping[str, str | bytes]:
    """Return a repository of one model with one block, for a rule's examples."""
    block = f"""\
model_warmup {{
  name: "one"
  {batch}
  count: {count}
  inputs {{ key: "X" value {{ data_type: TYPE_FP32 dims: [ 2 ] {data} }} }}
}}
"""
    return {"digits/config.pbtxt": _HEAD + block, "digits/warmup/x.bin": bytes(size), "digits/1/model.onnx": b"\0"}


def no_batch(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem for each block without a batch size."""
    for number, (block, _place) in enumerate(model.blocks()):
        if not block.batch_size:
            yield Problem(
                model.within(number, "batch_size"),
                f"block {block.name!r} has no batch_size, or 0: Triton passes over it without a word; write 1 or more",
            )


NO_BATCH = Rule(
    "triton-batch-zero",
    Severity.ERROR,
    "a warm-up block that never runs",
    """A block whose `batch_size` is 0 or missing is passed over in silence, even where its file is missing: the model
is ready after no call at all.""",
    no_batch,
    failing=example(batch="batch_size: 0"),
    passing=example(),
)


def made_up(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem for each input whose data is random."""
    for number, (block, _place) in enumerate(model.blocks()):
        for name, given in sorted(block.inputs.items()):
            if given.WhichOneof("input_data_type") != "random_data":
                continue
            if not given.random_data:
                said = "random_data: false still means random data: only which field is set counts"
            else:
                said = "random_data is raw random bytes: mostly numbers of extreme size, and integers out of any range"
            severity = None if not given.random_data else Severity.INFO
            where = model.within(number, "random_data")
            yield Problem(where, f"block {block.name!r}, input {name!r}: {said}; {GENERATE}", severity=severity)


MADE_UP = Rule(
    "triton-random-data",
    Severity.WARNING,
    "a warm-up with random data, though it may say false",
    """Which of `zero_data`, `random_data` and `input_data_file` is set decides, not its value: `random_data: false` is
random too. Random data are raw bytes: as FP32 four of five values have extreme magnitudes, and integers are out
of any vocabulary. `random_data: true` is told as info.""",
    made_up,
    failing=example(data="random_data: false"),
    passing=example(),
)


def wrong_size(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem for each data file that is missing or has another size than its block says."""
    for number, (block, _place) in enumerate(model.blocks()):
        if not block.batch_size:
            continue
        for name, given in sorted(block.inputs.items()):
            if given.WhichOneof("input_data_type") != "input_data_file":
                continue
            said, severity = _file_problem(model.warmup_folder / given.input_data_file.lstrip("/"), given)
            if said:
                where = model.within(number, "input_data_file")
                yield Problem(where, f"block {block.name!r}, input {name!r}: {said}", severity=severity)


def _file_problem(file: Path, given: Any) -> tuple[str, Severity | None]:
    name = given.input_data_file
    try:
        size = file.stat().st_size
    except (OSError, ValueError):
        return f"warmup/{name} is missing, and the model will not load", None
    element = SIZES.get(DataType.Name(given.data_type))
    if element is None or any(d < 0 for d in given.dims):
        return "", None
    needed = math.prod(given.dims) * element
    kind = f"{DataType.Name(given.data_type)} {list(given.dims)}"
    if size < needed:
        return f"warmup/{name} has {size} bytes and {kind} needs {needed}: the model will not load", None
    if size > needed:
        said = f"warmup/{name} has {size} bytes and {kind} needs {needed}: Triton cuts the rest off without a word"
        return said, Severity.WARNING
    return "", None


WRONG_SIZE = Rule(
    "triton-file-size",
    Severity.ERROR,
    "a warm-up file that is missing, too short or too long",
    """A missing or short file fails the load, and in the default control mode ends the server. One that is too long is
cut, which is told as a warning: it is often the row of another type. Strings, whose length only their content
tells, are not checked.""",
    wrong_size,
    failing=example(size=7),
    passing=example(),
)


def too_few(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if every block runs once only."""
    running = [b for b in model.config.model_warmup if b.batch_size]
    if not running or model.config.HasField("sequence_batching") or any(b.count > 1 for b in running):
        return
    first = next(n for n, b in enumerate(model.config.model_warmup) if b.batch_size)
    yield Problem(
        model.within(first, "count"),
        "every block runs once: a runtime that compiles at its second call, as TorchScript does, is left cold; write "
        "count: 2 or more, or let kserve-warmup triton --calibrate find it",
    )


TOO_FEW = Rule(
    "triton-count-one",
    Severity.WARNING,
    "a warm-up that runs each block once",
    """`count` is 1 unless it is set. A runtime that specialises once it has seen a shape compiles at the second call.
Sequence models, where a second call would be inside a sequence, are not told.""",
    too_few,
    failing=example(count=1),
    passing=example(count=2),
)
