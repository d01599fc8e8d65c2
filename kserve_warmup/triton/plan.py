"""What has to change in one model's folder, worked out and checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kserve_warmup.errors import SampleError, TritonConfigError, WarmupError
from kserve_warmup.protocols.bodies import decode
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import share
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.batch_sizes import pays_per_shape
from kserve_warmup.triton.binding import MAX_MISFIT, Fitting, MisfitError, name_of
from kserve_warmup.triton.blocks import MAX_BLOCKS, Block, BlockInput, Choice, block_name, choose, give_counts
from kserve_warmup.triton.counts import Cost
from kserve_warmup.triton.create import completed
from kserve_warmup.triton.declarations import Declarations
from kserve_warmup.triton.encode import BoundInput, encode_row, file_name
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.recorded import Counting, Keys, Origin, Recorded, choose_counting, out_of_date
from kserve_warmup.triton.releases import Release, check_loadable
from kserve_warmup.triton.render import WARMUP_TEMPLATE, Templates
from kserve_warmup.triton.rules import Model, check_warmup, is_ensemble, read_model

SMALL = 4096
"""Bytes up to which a data file is kept in memory between planning and writing; a thousand models have thousands."""


@dataclass(frozen=True)
class Options:
    """What the person who runs the generator may choose.

    ``count`` is for every block; None gives each what :func:`~kserve_warmup.triton.counts.default_counts` says.
    ``max_seconds`` is what the blocks of an instance may take together. ``counts`` are what a calibration found: for
    each model how often each block, by its name, has to run; a block that is missing there is left out. ``costs`` are
    what it measured of them. ``keep`` stays with where a model's counts came from when these options don't say.
    ``max_misfit`` is the share of the traffic (0 to 1) that may be left out because it does not fit the model.
    ``loaded_first`` are models that are loaded before those that call them, and ``release`` is the newest Triton that
    will load all these, None where that is not known. ``declarations`` are asked for a configuration without inputs.
    ``without`` says which blocks of a model are left out, by their names, and why.
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
    max_misfit: float = MAX_MISFIT
    loaded_first: tuple[str, ...] = ()
    release: Release | None = None
    declarations: Declarations = field(default_factory=Declarations)
    without: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that Triton would take for "none", and budgets that are none."""
        if any(number < 1 for number in (self.count or 1, self.max_blocks, *self.batch_sizes)) or self.count == 0:
            msg = "--count, --max-blocks and --batch-sizes must be at least 1; Triton passes over a batch size of 0"
            raise TritonConfigError(msg)
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise TritonConfigError(f"--max-seconds must be a positive number such as 5, not {self.max_seconds:g}")

    def counting(self, model: str) -> Counting:
        """Return where these options say that a model's counts come from."""
        measured = model in self.counts
        origin = Origin(measured, None if measured else self.count, self.max_seconds)
        return Counting(origin, self.counts.get(model), self.costs.get(model))

    def declared(self, name: str, folder: Path, samples: SampleSet, text: bytes) -> ModelConfig:
        """Return a model's configuration, with the inputs that the server would complete it with."""
        config = parse(text)
        if config.input or is_ensemble(config):
            return config
        try:
            found = self.declarations.of(name, folder)
        except TritonConfigError:
            if not self.create:
                raise
            found = None
        if found is None and self.create:
            found = completed(name, folder, samples, config)
        return found or config

    def keys(self, base: bytes, samples: SampleSet, per_shape: str = "") -> Keys:
        """Return what stands for everything that a model's blocks are made from, the template's text included.

        ``per_shape`` is who does work anew for each shape; it is in no key that was made before that counted.
        """
        extra = (per_shape,) if per_shape else ()
        return Keys(base, samples, (self.batch_sizes, self.max_blocks, self.templates.source(WARMUP_TEMPLATE), *extra))


@dataclass(frozen=True)
class ModelPlan:
    """One model's folder as it is and as it is to be.

    ``before`` is None when there is no ``config.pbtxt``. ``data`` makes each data file's bytes, by its name; large ones
    are not held in memory. ``stale`` are own files that are no longer needed, as paths from ``folder``.
    ``reason`` is empty when nothing has to change. ``model`` is what is known of it where blocks are made anew,
    ``shares`` is the traffic (0 to 1) that each block stands for, those left out included, ``misfit`` what fits none.
    """

    name: str
    folder: Path
    before: bytes | None
    after: bytes
    reason: str
    blocks: tuple[Block, ...] = ()
    coverage: float = 0.0
    data: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    warning: str = ""
    model: Model | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    misfit: float = 0.0

    @property
    def changed(self) -> bool:
        """Return whether anything has to be written or removed."""
        return bool(self.reason)


def plan_model(name: str, folder: Path, samples: SampleSet, options: Options, base: bytes | None = None) -> ModelPlan:
    """Work out what the warm-up of one model needs.

    Args:
        name: The model's name.
        folder: Its folder in the repository.
        samples: Its samples.
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
        keys = options.keys(found.span.outside(text) if found else text, samples, _per_shape(folder, text))
        counting = choose_counting(options.counting(name), found, keys, keep=options.keep)
        check_loadable(folder, text, options.loaded_first, options.release)
        reason = out_of_date(found, counting.origin, keys, folder) if before is not None else "there is no config.pbtxt"
        if not reason and name not in options.counts:
            stale = files.stale_files(folder, text)
            return ModelPlan(name, folder, before, text, "old data files are left over" if stale else "", stale=stale)
        config = options.declared(name, folder, samples, text)
        model = read_model(name, config, pays_per_shape(config, folder))
        fitting = Fitting(model, samples, options.max_misfit)
        choices, made, data = _fitting_blocks(model, fitting, options)
        without = options.without.get(name, {})
        chosen = give_counts(model, choices, made, counting, without)
        blocks = chosen.blocks
        names = {i.file for block in blocks for i in block.inputs}
        data = {name: source for name, source in data.items() if name in names}
        after = pbtxt.merge(text, chosen.comment + options.templates.warmup(blocks), keys.key(counting.origin))
        reason = reason or ("its counts were measured anew" if after != text else "")
        _check(model, after, {i.file: i.size for b in blocks for i in b.inputs})
    except (TritonConfigError, SampleError) as error:
        prefix = f"model {name}: "
        if str(error).startswith(prefix):
            raise
        raise type(error)(f"{prefix}{error}") from None
    whole = share(samples) or 1.0
    coverage = min(1.0, sum(c.share for c in chosen.choices) / whole)
    shares = {block.name: choice.share / whole for block, choice in zip(made, choices, strict=True)}
    stale = files.stale_files(folder, after)
    failed = _failed_warning(without, shares)
    warning = "; ".join(filter(None, (fitting.warning, failed, chosen.warning, _memory_warning(model, blocks))))
    return ModelPlan(
        name, folder, before, after, reason, blocks, coverage, data, stale, warning, model, shares, fitting.share
    )


def _per_shape(folder: Path, text: bytes) -> str:
    batched = b"dynamic_batching" in text  # parsing takes milliseconds, and repositories have many models
    return pays_per_shape(parse(text), folder) if batched else ""


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


def _fitting_blocks(
    model: Model, fitting: Fitting, options: Options
) -> tuple[list[Choice], tuple[Block, ...], dict[str, Callable[[], bytes]]]:
    """Choose blocks and encode them, leaving out samples whose values do not fit until all do."""
    while True:
        chosen = choose(model, fitting.samples, batch_sizes=options.batch_sizes, max_blocks=options.max_blocks)
        try:
            return chosen, *_make_blocks(model, chosen)
        except MisfitError as error:
            fitting.leave_out(error)


def _make_blocks(model: Model, choices: Sequence[Choice]) -> tuple[tuple[Block, ...], dict[str, Callable[[], bytes]]]:
    """Encode each chosen request to learn its files' names and sizes; large ones are dropped and encoded once more."""
    data: dict[str, Callable[[], bytes]] = {}
    fixed = []
    for control in model.controls:
        name = file_name(control.data)
        data[name] = partial(bytes, control.data)
        fixed.append(BlockInput(control.name, control.data_type, (1,), name, len(control.data)))
    inputs: dict[str, list[BlockInput]] = {}
    for choice in choices:
        if choice.sample.id in inputs:
            continue
        found = inputs[choice.sample.id] = []
        tensors = _tensors(choice.sample)
        for bound in choice.inputs:
            raw = _encode(model, tensors, choice.sample, bound)
            name = file_name(raw)
            again = partial(_encode_anew, model, choice.sample, bound)
            data[name] = partial(bytes, raw) if len(raw) <= SMALL else again
            found.append(BlockInput(bound.name, bound.data_type, bound.dims, name, len(raw)))
    blocks = []
    for number, choice in enumerate(choices, 1):
        own = inputs[choice.sample.id]
        name = block_name(number, choice.batch_size, own)
        blocks.append(Block(name, choice.batch_size, 1, (*own, *fixed), choice.reason))
    return tuple(blocks), data


def _encode_anew(model: Model, sample: Sample, bound: BoundInput) -> bytes:
    return _encode(model, _tensors(sample), sample, bound)


def _tensors(sample: Sample) -> dict[str, Tensor]:
    try:
        return {t.name: t for t in decode(sample.protocol, sample.body, sample.headers)}
    except SampleError as error:
        raise SampleError(f"{name_of(sample)}: {error}") from None


def _encode(model: Model, tensors: Mapping[str, Tensor], sample: Sample, bound: BoundInput) -> bytes:
    try:
        return encode_row(tensors[bound.source], bound, batching=model.max_batch_size > 0)
    except KeyError:
        problem = f"its body has no input {bound.source!r}, which its manifest names"
    except WarmupError as error:
        problem = str(error)
    raise MisfitError(str(model.fail(f"{name_of(sample)}: {problem}")), sample)


def _check(model: Model, text: bytes, sizes: Mapping[str, int]) -> None:
    """Check the blocks as they came out of the templates, which a user may have replaced."""
    warmups = pbtxt.own_blocks(text)
    if not warmups:
        raise model.fail("the template model_warmup.pbtxt.j2 wrote no model_warmup")
    for warmup in warmups:
        check_warmup(model, warmup, sizes)


def _failed_warning(without: Mapping[str, str], shares: Mapping[str, float]) -> str:
    if not without:
        return ""
    (name, problem), share_of = next(iter(without.items())), sum(shares.get(block, 0.0) for block in without)
    blocks = f"{len(without)} of {len(shares)} blocks ({share_of:.2%} of the traffic)"
    return f"left out {blocks} that failed in a trial load: block {name!r}: {problem}"


_NOTICEABLE = 256 << 20


def _memory_warning(model: Model, blocks: Sequence[Block]) -> str:
    """Triton reads every request of every block and instance into memory before it runs the first."""
    held = model.instances * sum(b.batch_size * sum(i.size for i in b.inputs) for b in blocks)
    return (
        f"loading holds {held >> 20} MiB of warm-up data; --batch-sizes or --max-blocks lowers it"
        if held > _NOTICEABLE
        else ""
    )
