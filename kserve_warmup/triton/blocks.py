"""Which warm-up blocks a model gets: recorded requests bound to its inputs, and batch sizes by share of traffic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.samples.manifest import Entry
from kserve_warmup.samples.sample import Signature, TensorSpec
from kserve_warmup.triton.encode import BoundInput
from kserve_warmup.triton.rules import Model, ModelInput, check_batch, check_names, data_type
from kserve_warmup.triton.traffic import signature_of

MAX_BLOCKS = 16

_JSON_LISTS = ("instances", "inputs")


@dataclass(frozen=True, slots=True)
class Choice:
    """A block to be made: the first row of ``entry``'s request, ``batch_size`` times in one call.

    ``share`` is the part of the traffic (0 to 1) with these inputs and this batch size; 0 for a size that only Triton's
    batcher makes.
    """

    entry: Entry
    inputs: tuple[BoundInput, ...]
    batch_size: int
    share: float


@dataclass(frozen=True, slots=True)
class BlockInput:
    """An input of a block: Triton type, dims without the batch, and the data file in the model's ``warmup`` folder."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    file: str
    size: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """A ``model_warmup`` block, as the templates see it; ``share`` is in words, such as ``62.0 % of the traffic``."""

    name: str
    batch_size: int
    count: int
    inputs: tuple[BlockInput, ...]
    share: str


@dataclass(slots=True)
class _Stratum:
    """The traffic with the same bound inputs: its heaviest sample for each batch size, and their shares."""

    share: float = 0.0
    entries: dict[int, Entry] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)


def choose(
    model: Model, entries: Iterable[Entry], *, batch_sizes: Sequence[int] = (), max_blocks: int = MAX_BLOCKS
) -> list[Choice]:
    """Return the blocks to make, those for the largest share of the traffic first.

    Args:
        model: The model's inputs and batching.
        entries: The samples, heaviest first.
        batch_sizes: Take these instead of the traffic's, the dynamic batcher's preferred ones and max_batch_size.
        max_blocks: No more blocks than this.

    Raises:
        TritonConfigError: A sample does not fit the model, or a batch size is above what the model takes.
    """
    for batch in batch_sizes:
        check_batch(model, batch, "--batch-sizes")
    strata: dict[tuple[BoundInput, ...], _Stratum] = {}
    for entry in entries:
        inputs = bind(model, entry)
        batch = entry.batch if model.max_batch_size else 1
        check_batch(model, batch, _where(entry))
        stratum = strata.setdefault(_key(inputs), _Stratum())
        stratum.entries.setdefault(batch, entry)
        stratum.shares[batch] = stratum.shares.get(batch, 0.0) + entry.weight
        stratum.share += entry.weight
    seen = [c for s in strata.values() for c in _choices(model, s, list(batch_sizes or s.entries))]
    batched = [] if batch_sizes else [c for s in strata.values() for c in _batcher_choices(model, s)]
    seen.sort(key=lambda c: -c.share)
    return (seen + batched)[:max_blocks]


def _key(inputs: tuple[BoundInput, ...]) -> tuple[BoundInput, ...]:
    """Requests that differ in protocol only are the same to the model."""
    return tuple(BoundInput(i.name, "", i.data_type, i.dims) for i in inputs)


def _choices(model: Model, stratum: _Stratum, sizes: list[int]) -> list[Choice]:
    heaviest = next(iter(stratum.entries.values()))
    found = []
    for size in dict.fromkeys(sizes):
        entry = stratum.entries.get(size, heaviest)
        found.append(Choice(entry, bind(model, entry), size, stratum.shares.get(size, 0.0)))
    return found


def _batcher_choices(model: Model, stratum: _Stratum) -> list[Choice]:
    return _choices(model, stratum, [size for size in model.batcher_sizes if size not in stratum.entries])


def bind(model: Model, entry: Entry) -> tuple[BoundInput, ...]:
    """Return a recorded request's inputs as the model's inputs, by name.

    Raises:
        TritonConfigError: A name, type or shape does not fit the model, or a required input is missing.
    """
    where, signature = _where(entry), signature_of(entry)
    if not codec_of(entry.protocol).has_tensors or not signature.inputs:
        raise model.fail(f"{where}: a request without tensors cannot become a warm-up block; leave it out of the set")
    if model.max_batch_size and not signature.batched:
        raise model.fail(
            f"{where}: its inputs share no batch dimension, but the model has max_batch_size {model.max_batch_size}"
        )
    names = _names(model, entry, signature)
    check_names(model, {*names.values(), *(c.name for c in model.controls)}, where)
    bound = [_bind(model, model.inputs[names[spec.name]], spec, entry, signature) for spec in signature.inputs]
    return tuple(sorted(bound))


def _where(entry: Entry) -> str:
    return f"sample {entry.id[:8]}"


def _names(model: Model, entry: Entry, signature: Signature) -> dict[str, str]:
    """Map the request's input names to the model's. A v1 list without names is the only input there is."""
    names = {spec.name: spec.name for spec in signature.inputs}
    if not codec_of(entry.protocol).is_typed and len(names) == 1 and len(model.inputs) == 1:
        (name,) = names
        if name in _JSON_LISTS and name not in model.inputs:
            return {name: next(iter(model.inputs))}
    return names


def _bind(model: Model, declared: ModelInput, spec: TensorSpec, entry: Entry, signature: Signature) -> BoundInput:
    where = f"{_where(entry)}, input {spec.name!r}"
    untyped = not codec_of(entry.protocol).is_typed
    given = data_type(spec.datatype)
    if spec.datatype == "JSON" or -1 in spec.shape:
        raise model.fail(
            f"{where}: its rows are uneven or of mixed types, which no tensor holds; leave it out of the set"
        )
    castable = untyped and "TYPE_STRING" not in (given, declared.data_type)
    if given != declared.data_type and not castable:
        raise model.fail(f"{where}: its type is {given}, the model takes {declared.data_type}")
    dims = spec.shape if model.max_batch_size else signature.full_shape(spec, entry.batch)
    if untyped and declared.takes((*dims, 1)):
        dims = (*dims, 1)  # JSON clients write a column as a plain list
    if not declared.takes(dims):
        wanted = f"{'batch, then ' if model.max_batch_size else ''}{list(declared.dims)}"
        raise model.fail(f"{where}: dims {list(dims)} do not fit the model's {wanted}")
    return BoundInput(declared.name, spec.name, declared.data_type, dims, untyped)


def block_name(number: int, batch_size: int, inputs: Sequence[BlockInput]) -> str:
    """Return a name that is unique by its number and tells a reader of Triton's log what runs."""
    what = " ".join(f"{i.name}[{','.join(map(str, i.dims))}]" for i in inputs)
    return f"{number:02d} batch {batch_size} {what if len(what) < 80 else what[:77] + '...'}"  # noqa: PLR2004


def require_blocks(model: Model, choices: Sequence[Choice]) -> None:
    """Refuse a warm-up without any block: Triton would call it done."""
    if not choices:
        raise TritonConfigError(f"model {model.name}: its sample set is empty; record some requests")
