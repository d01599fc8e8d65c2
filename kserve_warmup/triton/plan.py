"""What has to change in one model's folder, worked out and checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kserve_warmup.errors import SampleError, TritonConfigError, WarmupError
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.manifest import Entry
from kserve_warmup.triton import files, pbtxt
from kserve_warmup.triton.blocks import MAX_BLOCKS, Block, BlockInput, Choice, block_name, choose, require_blocks
from kserve_warmup.triton.counted import give_counts
from kserve_warmup.triton.counts import Cost
from kserve_warmup.triton.encode import BoundInput, encode_row, file_name
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.recorded import Keys, Recorded, choose_counting, out_of_date
from kserve_warmup.triton.render import WARMUP_TEMPLATE, Templates
from kserve_warmup.triton.rules import Model, check_warmup, read_model
from kserve_warmup.triton.traffic import Traffic

SMALL = 4096
"""Bytes up to which a data file is kept in memory between planning and writing; a thousand models have thousands."""


@dataclass(frozen=True)
class Options:
    """What the person who runs the generator may choose.

    ``count`` is for every block; None gives each what :func:`~kserve_warmup.triton.counts.default_counts` says.
    ``max_seconds`` is what the blocks of an instance may take together. ``counts`` are what a calibration found: for
    each model how often each block, by its name, has to run; a block that is missing there is left out. ``costs`` are
    what it measured of them. ``keep`` stays with where a model's counts came from when these options don't say.
    """

    count: int | None = None
    batch_sizes: tuple[int, ...] = ()
    max_blocks: int = MAX_BLOCKS
    create: bool = False
    templates: Templates = field(default_factory=Templates)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, Cost]] = field(default_factory=dict)
    keep: bool = False
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that Triton would take for "none", and budgets that are none."""
        if any(number < 1 for number in (self.count or 1, self.max_blocks, *self.batch_sizes)) or self.count == 0:
            msg = "--count, --max-blocks and --batch-sizes must be at least 1; Triton passes over a batch size of 0"
            raise TritonConfigError(msg)
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise TritonConfigError(f"--max-seconds must be a positive number such as 5, not {self.max_seconds:g}")

    def keys(self, base: bytes, traffic: Traffic) -> Keys:
        """Return what stands for everything that a model's blocks are made from, the template's text included."""
        return Keys(base, traffic.digest, (self.batch_sizes, self.max_blocks, self.templates.source(WARMUP_TEMPLATE)))


@dataclass(frozen=True)
class ModelPlan:
    """One model's folder as it is and as it is to be.

    ``before`` is None when there is no ``config.pbtxt``. ``data`` tells how each data file is made, by its name;
    large ones are not held in memory. ``stale`` are own files that are no longer needed, as paths from ``folder``.
    ``reason`` is empty when nothing has to change.
    """

    name: str
    folder: Path
    before: bytes | None
    after: bytes
    reason: str
    blocks: tuple[Block, ...] = ()
    coverage: float = 0.0
    data: Mapping[str, DataSource] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    warning: str = ""

    @property
    def changed(self) -> bool:
        """Return whether anything has to be written or removed."""
        return bool(self.reason)


@dataclass(frozen=True)
class DataSource:
    """Where a data file's bytes come from: fixed bytes, or an input of a recorded request."""

    model: Model
    traffic: Traffic | None = None
    entry: Entry | None = None
    bound: BoundInput | None = None
    fixed: bytes = b""


def plan_model(name: str, folder: Path, traffic: Traffic, options: Options, base: bytes | None = None) -> ModelPlan:
    """Work out what the warm-up of one model needs.

    Args:
        name: The model's name.
        folder: Its folder in the repository.
        traffic: Its samples.
        options: The person's choices.
        base: A configuration to begin with where there is none.

    Raises:
        TritonConfigError: A rule of Triton's would be broken; nothing was written.
        SampleError: The sample set cannot be used.
    """
    before = files.read_config(folder)
    text = before if before is not None else base
    if text is None:
        hint = "write one, or let --create write a minimal one"
        raise TritonConfigError(f"model {name}: {folder / files.CONFIG} is missing; {hint}")
    try:
        found = Recorded.read(text)
        keys = options.keys(found.span.outside(text) if found else text, traffic)
        counting = choose_counting(name, options, found, keys)
        reason = out_of_date(found, counting.origin, keys, folder) if before is not None else "there is no config.pbtxt"
        if not reason and name not in options.counts:
            stale = files.stale_files(folder, text)
            return ModelPlan(name, folder, before, text, "old data files are left over" if stale else "", stale=stale)
        model = read_model(name, parse(text))
        choices = choose(model, traffic, batch_sizes=options.batch_sizes, max_blocks=options.max_blocks)
        require_blocks(model, choices)
        made, data = _make_blocks(model, choices, traffic)
        chosen = give_counts(model, choices, made, counting)
        blocks = chosen.blocks
        names = {i.file for block in blocks for i in block.inputs}
        data = {name: source for name, source in data.items() if name in names}
        after = pbtxt.merge(text, chosen.comment + options.templates.warmup(blocks), keys.key(counting.origin))
        reason = reason or ("its counts were measured anew" if after != text else "")
        _check(model, after, {i.file: i.size for b in blocks for i in b.inputs})
    except (TritonConfigError, SampleError) as error:
        prefix = f"model {name}: "
        raise type(error)(str(error) if str(error).startswith(prefix) else f"{prefix}{error}") from None
    weight = sum(entry.weight for entry in traffic) or 1.0
    coverage = min(1.0, sum(c.share for c in chosen.choices) / weight)
    stale = files.stale_files(folder, after)
    warning = "; ".join(filter(None, (chosen.warning, _memory_warning(model, blocks))))
    return ModelPlan(name, folder, before, after, reason, blocks, coverage, data, stale, warning)


def plan_removal(name: str, folder: Path) -> ModelPlan:
    """Work out how to take the generated part and the data files away again."""
    before = files.read_config(folder)
    if before is None:
        return ModelPlan(name, folder, None, b"", "", stale=files.stale_files(folder, b""))
    try:
        after = pbtxt.remove(before)
    except TritonConfigError as error:
        raise TritonConfigError(f"model {name}: {error}") from None
    stale = files.stale_files(folder, after)
    return ModelPlan(name, folder, before, after, "warm-up is removed" if after != before or stale else "", stale=stale)


def _make_blocks(
    model: Model, choices: Sequence[Choice], traffic: Traffic
) -> tuple[tuple[Block, ...], dict[str, DataSource]]:
    """Encode each chosen request to learn its files' names and sizes; large ones are dropped and encoded once more."""
    data: dict[str, DataSource] = {}
    fixed = []
    for control in model.controls:
        name = file_name(control.data)
        data[name] = DataSource(model, fixed=control.data)
        fixed.append(BlockInput(control.name, control.data_type, (1,), name, len(control.data)))
    inputs: dict[str, list[BlockInput]] = {}
    for choice in choices:
        if choice.entry.id in inputs:
            continue
        found = inputs[choice.entry.id] = []
        for bound, raw in encode_entry(model, traffic, choice.entry, choice.inputs):
            name = file_name(raw)
            small = len(raw) <= SMALL
            data[name] = DataSource(model, fixed=raw) if small else DataSource(model, traffic, choice.entry, bound)
            found.append(BlockInput(bound.name, bound.data_type, bound.dims, name, len(raw)))
    blocks = []
    for number, choice in enumerate(choices, 1):
        own = inputs[choice.entry.id]
        name = block_name(number, choice.batch_size, own)
        blocks.append(Block(name, choice.batch_size, 1, (*own, *fixed), _share(choice)))
    return tuple(blocks), data


def encode_entry(
    model: Model, traffic: Traffic, entry: Entry, inputs: Sequence[BoundInput]
) -> Iterator[tuple[BoundInput, bytes]]:
    """Yield each input of a recorded request with its data file's bytes, one at a time."""
    tensors = traffic.tensors(entry)
    for bound in inputs:
        yield bound, _encode(model, tensors, entry, bound)


def _encode(model: Model, tensors: Mapping[str, Tensor], entry: Entry, bound: BoundInput) -> bytes:
    try:
        return encode_row(tensors[bound.source], bound, batching=model.max_batch_size > 0)
    except KeyError:
        problem = f"its body has no input {bound.source!r}, which its manifest names"
    except WarmupError as error:
        problem = str(error)
    raise model.fail(f"sample {entry.id[:8]}: {problem}")


def _share(choice: Choice) -> str:
    return (
        f"{choice.share:.1%} of the traffic"
        if choice.share
        else "a batch size that the batcher aims at, or was asked for"
    )


def _check(model: Model, text: bytes, sizes: Mapping[str, int]) -> None:
    """Check the blocks as they came out of the templates, which a user may have replaced."""
    warmups = pbtxt.own_blocks(text)
    if not warmups:
        raise model.fail("the template model_warmup.pbtxt.j2 wrote no model_warmup")
    for warmup in warmups:
        check_warmup(model, warmup, sizes)


_NOTICEABLE = 256 << 20


def _memory_warning(model: Model, blocks: Sequence[Block]) -> str:
    """Triton reads every request of every block and instance into memory before it runs the first."""
    held = model.instances * sum(b.batch_size * sum(i.size for i in b.inputs) for b in blocks)
    return (
        f"loading holds {held >> 20} MiB of warm-up data; --batch-sizes or --max-blocks lowers it"
        if held > _NOTICEABLE
        else ""
    )
