"""Recorded requests bound to a model's inputs, and the few that fit it not, which are left out and named.

A request that the model refuses is no reason for a model without warm-up, and one that was let through would keep the
server from starting. Many of them are: then it is the wrong set, or the wrong model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.samples.sample import Sample, TensorSpec
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import share
from kserve_warmup.triton.encode import BoundInput
from kserve_warmup.triton.rules import Model, ModelInput, check_batch, check_names, data_type

MAX_MISFIT = 0.05
"""The share of the traffic (0 to 1) that may be left out because it does not fit the model."""

_JSON_LISTS = ("instances", "inputs")


class MisfitError(TritonConfigError):
    """A sample does not fit the model."""

    def __init__(self, message: str, sample: Sample) -> None:
        """Take the line and the sample that it is about."""
        super().__init__(message)
        self.sample = sample


@dataclass
class Fitting:
    """The samples of a set that fit a model; ``problems`` says of each other one, by its id, why it does not.

    Attributes:
        model: The model.
        recorded: All samples.
        limit: The share of the traffic (0 to 1) that may be left out.
        problems: What was found so far.
    """

    model: Model
    recorded: SampleSet
    limit: float = MAX_MISFIT
    problems: dict[str, TritonConfigError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bind every sample.

        Raises:
            TritonConfigError: More do not fit than may be left out.
        """
        found = ((sample.id, misfit(self.model, sample)) for sample in self.recorded)
        self.problems.update((name, problem) for name, problem in found if problem)
        self._check()

    @property
    def samples(self) -> list[Sample]:
        """Return those that fit, the heaviest first."""
        return [sample for sample in self.recorded if sample.id not in self.problems]

    def leave_out(self, error: MisfitError) -> None:
        """Leave out a sample whose values turned out not to fit.

        Raises:
            TritonConfigError: That is more than may be left out.
        """
        self.problems[error.sample.id] = error
        self._check()

    @property
    def warning(self) -> str:
        """Say in a line what is left out, or nothing."""
        if not self.problems:
            return ""
        return f"left out {self._shares} which the model does not take: {self._first}"

    def _check(self) -> None:
        if self.problems and (self.share > self.limit or len(self.problems) == len(self.recorded)):
            where = f"{self._shares} do not fit the model, more than --max-misfit {self.limit:g} allows"
            raise TritonConfigError(f"model {self.model.name}: {self._first}; {where}")

    @property
    def share(self) -> float:
        """Return the share of the traffic (0 to 1) that is left out."""
        left = share(s for s in self.recorded if s.id in self.problems)
        return left / (share(self.recorded) or 1.0)

    @property
    def _shares(self) -> str:
        return f"{len(self.problems)} of {len(self.recorded)} samples ({self.share:.2%} of the traffic)"

    @property
    def _first(self) -> str:
        """Return what is wrong with the heaviest of them."""
        first = next(s for s in self.recorded if s.id in self.problems)
        return str(self.problems[first.id]).removeprefix(f"model {self.model.name}: ")


def misfit(model: Model, sample: Sample) -> TritonConfigError | None:
    """Return why a recorded request does not fit the model, None if it does as far as its signature tells."""
    try:
        bind(model, sample)
    except TritonConfigError as error:
        return error
    return None


def bind(model: Model, sample: Sample) -> tuple[BoundInput, ...]:
    """Return a recorded request's inputs as the model's inputs, by name.

    Raises:
        TritonConfigError: A name, type, shape or batch size does not fit the model, or a required input is missing.
    """
    where, signature = name_of(sample), sample.signature
    if not codec_of(sample.protocol).has_tensors or not signature.inputs:
        raise model.fail(f"{where}: a request without tensors cannot become a warm-up block; leave it out of the set")
    if model.max_batch_size and not signature.batched:
        raise model.fail(
            f"{where}: its inputs share no batch dimension, but the model has max_batch_size {model.max_batch_size}"
        )
    check_batch(model, sample.batch if model.max_batch_size else 1, where)
    names = _names(model, sample)
    check_names(model, {*names.values(), *(c.name for c in model.controls)}, where)
    bound = [_bind(model, model.inputs[names[spec.name]], spec, sample) for spec in signature.inputs]
    return tuple(sorted(bound))


def name_of(sample: Sample) -> str:
    """Return what errors call a sample."""
    return f"sample {sample.id[:8]}"


def _names(model: Model, sample: Sample) -> dict[str, str]:
    """Map the request's input names to the model's. A v1 list without names is the only input there is."""
    names = {spec.name: spec.name for spec in sample.signature.inputs}
    if not codec_of(sample.protocol).is_typed and len(names) == 1 and len(model.inputs) == 1:
        (name,) = names
        if name in _JSON_LISTS and name not in model.inputs:
            return {name: next(iter(model.inputs))}
    return names


def _bind(model: Model, declared: ModelInput, spec: TensorSpec, sample: Sample) -> BoundInput:
    where = f"{name_of(sample)}, input {spec.name!r}"
    untyped = not codec_of(sample.protocol).is_typed
    given = data_type(spec.datatype)
    if spec.datatype == "JSON" or -1 in spec.shape:
        raise model.fail(
            f"{where}: its rows are uneven or of mixed types, which no tensor holds; leave it out of the set"
        )
    castable = untyped and "TYPE_STRING" not in (given, declared.data_type)
    if given != declared.data_type and not castable:
        raise model.fail(f"{where}: its type is {given}, the model takes {declared.data_type}")
    dims = spec.shape if model.max_batch_size else sample.signature.full_shape(spec, sample.batch)
    if untyped and declared.takes((*dims, 1)):
        dims = (*dims, 1)  # JSON clients write a column as a plain list
    if not declared.takes(dims):
        wanted = f"{'batch, then ' if model.max_batch_size else ''}{list(declared.dims)}"
        raise model.fail(f"{where}: dims {list(dims)} do not fit the model's {wanted}")
    return BoundInput(declared.name, spec.name, declared.data_type, dims, untyped)
