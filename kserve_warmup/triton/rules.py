"""What a Triton model's configuration allows in a warm-up block, checked before anything is written.

Triton checks little of this itself: a batch size of 0 is passed over, a file that is too long is cut, an unknown input
is delivered, and a block that fails can take the whole server down.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.generated.model_config_pb2 import DataType, ModelConfig
from kserve_warmup.protocols.tensors import element_size, to_dtype
from kserve_warmup.samples.sample import DATATYPES

STRING = "TYPE_STRING"
SIZES = {f"TYPE_{name}": size for name in DATATYPES if (size := element_size(name))}
"""Bytes of one element by Triton type; ``TYPE_STRING`` is not in it: 4 bytes and the text each."""

NO_INPUT = (
    "config.pbtxt has no input; --server URL asks a server that runs the model, a tritonserver on this machine is "
    "asked without a word, and --create goes by the samples; or add input and max_batch_size"
)

_CONTROL_TYPES = ("TYPE_INT32", "TYPE_FP32", "TYPE_BOOL", "TYPE_INT64", "TYPE_UINT64", "TYPE_UINT32")


def data_type(datatype: str) -> str:
    """Return Triton's name of an Open Inference Protocol type: ``TYPE_FP32``; ``TYPE_STRING`` for ``BYTES``."""
    return STRING if datatype == "BYTES" else f"TYPE_{datatype}"


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input as the configuration declares it; ``dims`` leave the batch out and hold -1 where any size will do."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = False

    def takes(self, dims: Sequence[int]) -> bool:
        """Return whether a request may have these dims."""
        return len(dims) == len(self.dims) and all(mine in (-1, d) for mine, d in zip(self.dims, dims, strict=True))


@dataclass(frozen=True, slots=True)
class Control:
    """An input of dims ``[1]`` that the sequence batcher makes; warm-up passes it by, so a block must bring it."""

    name: str
    data_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """What the generator needs to know of a model.

    ``batcher_sizes`` are the batch sizes that the dynamic batcher aims at, beside those of single requests.
    ``instances`` is the number that the configuration asks for, at least 1. The blocks of a ``sequence`` model run
    once each, since repeating one would break the sequence. ``per_shape`` is who does part of its work anew for each
    batch size that the dynamic batcher makes, if anybody.
    """

    name: str
    max_batch_size: int
    inputs: Mapping[str, ModelInput]
    controls: tuple[Control, ...] = ()
    batcher_sizes: tuple[int, ...] = ()
    instances: int = 1
    sequence: bool = False
    per_shape: str = ""

    def fail(self, problem: str) -> TritonConfigError:
        """Return the error that says what is wrong with the warm-up of this model."""
        return TritonConfigError(f"model {self.name}: {problem}")


def is_ensemble(config: ModelConfig) -> bool:
    """Return whether the model only passes tensors between other models."""
    return bool(config.HasField("ensemble_scheduling") or config.platform == "ensemble")


def read_model(name: str, config: ModelConfig, per_shape: str = "") -> Model:
    """Return what ``config`` says of the model called ``name``.

    Args:
        name: Its name.
        config: Its configuration, with inputs.
        per_shape: See :class:`Model`.

    Raises:
        TritonConfigError: Triton could not warm such a model with ``model_warmup``.
    """
    if is_ensemble(config):
        members = sorted({step.model_name for step in config.ensemble_scheduling.step})
        hint = f"warm its members instead: {', '.join(members)}" if members else "warm its members instead"
        raise TritonConfigError(f"model {name}: Triton takes no model_warmup for an ensemble; {hint}")
    sequence = config.sequence_batching if config.HasField("sequence_batching") else None
    if sequence is not None and sequence.state:
        msg = "Triton cannot warm a model with implicit state (sequence_batching.state); warm it with requests instead"
        raise TritonConfigError(f"model {name}: {msg}")
    if not config.input:
        raise TritonConfigError(f"model {name}: {NO_INPUT}")
    controls = tuple(_control(name, c) for c in sequence.control_input) if sequence is not None else ()
    inputs = {i.name: _input(name, i, config.max_batch_size) for i in config.input}
    sizes, instances = _batcher_sizes(config), instances_of(config)
    return Model(name, config.max_batch_size, inputs, controls, sizes, instances, sequence is not None, per_shape)


def instances_of(config: ModelConfig) -> int:
    """Return the number of instances that a configuration asks for, at least 1."""
    return sum(max(1, g.count) * max(1, len(g.gpus)) for g in config.instance_group if not g.passive) or 1


def _input(model: str, declared: Any, max_batch_size: int) -> ModelInput:
    if declared.is_shape_tensor and max_batch_size:
        msg = f"input {declared.name!r} is a shape tensor of a batching model, which Triton's warm-up cannot feed"
        raise TritonConfigError(f"model {model}: {msg}")
    if declared.is_non_linear_format_io:  # whose bytes are padded; core hands the backend as many as dims say
        msg = f"input {declared.name!r} has a non-linear format, which Triton's warm-up cannot feed"
        raise TritonConfigError(f"model {model}: {msg}; warm it with requests instead")
    kind = DataType.Name(declared.data_type)
    if kind != STRING and kind not in SIZES:
        raise TritonConfigError(f"model {model}: input {declared.name!r} has no data_type: set it in config.pbtxt")
    return ModelInput(declared.name, kind, tuple(declared.dims), declared.optional)


def _batcher_sizes(config: ModelConfig) -> tuple[int, ...]:
    """Return the batch sizes that the dynamic batcher aims at: the preferred ones, and the largest."""
    if not config.HasField("dynamic_batching"):
        return ()
    return tuple(dict.fromkeys([*config.dynamic_batching.preferred_batch_size, config.max_batch_size]))


def _control(model: str, declared: Any) -> Control:
    if len(declared.control) != 1:
        raise TritonConfigError(f"model {model}: control input {declared.name!r} must have one control")
    control = declared.control[0]
    kinds = {
        "TYPE_INT32": control.int32_false_true,
        "TYPE_FP32": control.fp32_false_true,
        "TYPE_BOOL": control.bool_false_true,
    }
    value: Any = 1  # start, ready and end at once: a sequence of one request, which leaves no state behind
    given = next((kind for kind, pair in kinds.items() if pair[1:]), None)
    if given is not None:
        kind, value = given, kinds[given][1]
    else:
        kind = DataType.Name(control.data_type)
    if kind == STRING:
        return Control(declared.name, kind, struct.pack("<I", 1) + b"1")
    if kind not in _CONTROL_TYPES:
        raise TritonConfigError(f"model {model}: control input {declared.name!r} has neither values nor a data_type")
    return Control(declared.name, kind, np.array([value], to_dtype(kind.removeprefix("TYPE_"))).tobytes())


def check_warmup(model: Model, warmup: Any, sizes: Mapping[str, int]) -> None:
    """Check one rendered ``ModelWarmup`` message.

    Args:
        model: The model it is for.
        warmup: The message.
        sizes: Bytes of each data file, by its name in the model's ``warmup`` folder.

    Raises:
        TritonConfigError: It breaks a rule.
    """
    where = f"block {warmup.name!r}"
    check_batch(model, warmup.batch_size, where)
    if model.sequence and warmup.count > 1:
        raise model.fail(f"{where}: count {warmup.count} would repeat a request inside a sequence; it must be 1")
    check_names(model, set(warmup.inputs), where)
    controls = {c.name: ModelInput(c.name, c.data_type, (1,)) for c in model.controls}
    for name, given in warmup.inputs.items():
        _check_input(model, controls.get(name) or model.inputs[name], given, sizes, f"{where}, input {name!r}")


def check_batch(model: Model, batch: int, where: str) -> None:
    """Refuse a batch size that Triton would pass over or the model's backend would fail on."""
    if batch < 1:
        raise model.fail(f"{where}: batch_size {batch} would be skipped without a word; it must be at least 1")
    if batch > max(1, model.max_batch_size):
        raise model.fail(f"{where}: batch size {batch} is above max_batch_size {model.max_batch_size}")


def check_names(model: Model, names: set[str], where: str) -> None:
    """Refuse missing and unknown inputs; Triton delivers an unknown one, so that a misspelt name goes unseen."""
    controls = {c.name for c in model.controls}
    unknown = sorted(names - model.inputs.keys() - controls)
    if unknown:
        raise model.fail(f"{where}: there is no input {unknown[0]!r}; the model has {', '.join(model.inputs)}")
    required = {i.name for i in model.inputs.values() if not i.optional} | controls
    missing = sorted(required - names)
    if missing:
        raise model.fail(f"{where}: input {missing[0]!r} is missing, which the model requires")


def _check_input(model: Model, declared: ModelInput, given: Any, sizes: Mapping[str, int], where: str) -> None:
    kind, dims = DataType.Name(given.data_type), list(given.dims)
    if kind != declared.data_type:
        raise model.fail(f"{where}: its type is {kind}, the model takes {declared.data_type}")
    if any(d < 0 for d in dims):
        raise model.fail(f"{where}: dims {dims} must all be known; Triton refuses -1")
    if not declared.takes(dims):
        raise model.fail(f"{where}: dims {dims} do not fit the model's {list(declared.dims)}")
    source = given.WhichOneof("input_data_type")
    if source != "input_data_file":
        raise model.fail(f"{where}: {source or 'no data'} is not real data; name an input_data_file")
    size = sizes.get(given.input_data_file)
    if size is None:
        raise model.fail(f"{where}: {given.input_data_file!r} is not a file that this warm-up brings")
    if kind in SIZES and size != (needed := math.prod(dims) * SIZES[kind]):
        raise model.fail(f"{where}: {given.input_data_file} has {size} bytes, but {kind} {dims} needs exactly {needed}")
