"""What has to change in one model's folder, worked out and checked before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from kserve_warmup.errors import SampleError, TritonConfigError, WarmupError
from kserve_warmup.samples.datatypes import Tensor
from kserve_warmup.samples.manifest import Entry
from kserve_warmup.triton import files, pbtxt
from kserve_warmup.triton.blocks import COUNT, MAX_BLOCKS, Block, BlockInput, Choice, block_name, choose, require_blocks
from kserve_warmup.triton.encode import OWN_FILE, BoundInput, encode_row, file_name
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.render import WARMUP_TEMPLATE, Templates
from kserve_warmup.triton.rules import Model, check_warmup, read_model
from kserve_warmup.triton.traffic import Traffic

SMALL = 4096
"""Bytes up to which a data file is kept in memory between planning and writing; a thousand models have thousands."""

FORMAT = 1
"""Raised when equal samples and options would give other blocks than before."""


@dataclass(frozen=True)
class Options:
    """What the person who runs the generator may choose.

    ``counts`` are what a calibration found: for each model how often each block, by its name, has to run; a block that
    is missing there is left out. ``keep_counts`` takes counts that an earlier calibration wrote for up to date.
    """

    count: int = COUNT
    batch_sizes: tuple[int, ...] = ()
    max_blocks: int = MAX_BLOCKS
    create: bool = False
    templates: Templates = field(default_factory=Templates)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    keep_counts: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that Triton would take for "none"."""
        if self.count < 1 or self.max_blocks < 1 or any(size < 1 for size in self.batch_sizes):
            msg = "--count, --max-blocks and --batch-sizes must be at least 1; Triton passes over a batch size of 0"
            raise TritonConfigError(msg)

    @cached_property
    def digest(self) -> bytes:
        """Return what tells these options from others, the template's text included."""
        return self._digest(self.count)

    @cached_property
    def calibrated_digest(self) -> bytes:
        """Return the digest of these options with counts that were measured, whatever they are."""
        return self._digest("calibrated")

    def _digest(self, count: int | str) -> bytes:
        text = repr((FORMAT, count, self.batch_sizes, self.max_blocks, self.templates.source(WARMUP_TEMPLATE)))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


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
        span = pbtxt.own_span(text)
        base_text, counts = span.outside(text) if span else text, options.counts.get(name)
        measured = _key(base_text, traffic, options.calibrated_digest)
        key = measured if counts is not None else _key(base_text, traffic, options.digest)
        reason = _reason(
            text if before is not None else None, span, (key, measured) if options.keep_counts else (key,), folder
        )
        if not reason and counts is None:
            stale = files.stale_files(folder, text)
            return ModelPlan(name, folder, before, text, "old data files are left over" if stale else "", stale=stale)
        model = read_model(name, parse(text))
        choices = choose(model, traffic, batch_sizes=options.batch_sizes, max_blocks=options.max_blocks)
        require_blocks(model, choices)
        blocks, data = _make_blocks(model, choices, traffic, options)
        if counts is not None:
            choices, blocks, data = _counted(model, choices, blocks, data, counts)
        after = pbtxt.merge(text, options.templates.warmup(blocks), key)
        reason = reason or ("its counts were measured anew" if after != text else "")
        _check(model, after, {i.file: i.size for b in blocks for i in b.inputs})
    except (TritonConfigError, SampleError) as error:
        prefix = f"model {name}: "
        raise type(error)(str(error) if str(error).startswith(prefix) else f"{prefix}{error}") from None
    total = sum(entry.weight for entry in traffic) or 1.0
    coverage = min(1.0, sum(c.share for c in choices) / total)
    stale, warning = files.stale_files(folder, after), _memory_warning(model, blocks)
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


def _key(base: bytes, traffic: Traffic, options: bytes) -> str:
    """Return what stands for everything that the blocks are made from; bodies are in it by the manifest's hashes."""
    digest = hashlib.blake2b(base, digest_size=8)
    digest.update(traffic.digest + options)
    return digest.hexdigest()


def _reason(before: bytes | None, span: pbtxt.Span | None, keys: tuple[str, ...], folder: Path) -> str:
    """Return why a model's warm-up is out of date, or nothing when it is not."""
    if before is None:
        return "there is no config.pbtxt"
    if span is None:
        return "it has no generated warm-up"
    if span.key not in keys:
        return "samples, options or configuration changed"
    if span.edited(before):
        return "the generated part was edited"
    for name in sorted(_referenced(before, span)):
        if not files.is_whole(folder, name):
            return f"{files.WARMUP}/{name} is missing or was changed"
    return ""


def _referenced(text: bytes, span: pbtxt.Span | None) -> set[str]:
    return set(OWN_FILE.findall(span.inside(text).decode("ascii", "replace"))) if span else set()


def _make_blocks(
    model: Model, choices: Sequence[Choice], traffic: Traffic, options: Options
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
        count = 1 if model.sequence else options.count
        name = block_name(number, choice.batch_size, own)
        blocks.append(Block(name, choice.batch_size, count, (*own, *fixed), _share(choice)))
    return tuple(blocks), data


def _counted(
    model: Model,
    choices: Sequence[Choice],
    blocks: Sequence[Block],
    data: Mapping[str, DataSource],
    counts: Mapping[str, int],
) -> tuple[list[Choice], tuple[Block, ...], dict[str, DataSource]]:
    """Return only what has a count, with that count."""
    kept = [(c, replace(b, count=counts[b.name])) for c, b in zip(choices, blocks, strict=True) if b.name in counts]
    if not kept:
        raise model.fail("no block is left: none of them ran")
    files_left = {i.file for _, block in kept for i in block.inputs}
    return (
        [choice for choice, _ in kept],
        tuple(block for _, block in kept),
        {name: source for name, source in data.items() if name in files_left},
    )


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
