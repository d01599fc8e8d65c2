"""Rules about what a Triton repository's warm-up leaves out: models, members of ensembles, batch sizes, new samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.lint.findings import Knowledge, Position, Problem, Rule, Severity
from kserve_warmup.lint.triton_blocks import GENERATE, example
from kserve_warmup.lint.triton_models import TritonModel
from kserve_warmup.triton.batch_sizes import pays_per_shape, sums
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.rules import is_ensemble
from kserve_warmup.triton.warmup_files import config_text

_SHOWN = 6


def cold(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if a model has no warm-up at all."""
    if not model.config.model_warmup and not is_ensemble(model.config):
        yield Problem(Position(), f"model {model.name} has no model_warmup: it is ready cold; {GENERATE}")


_PLAIN = 'backend: "onnxruntime"\nmax_batch_size: 0\n'

COLD = Rule(
    "triton-no-warmup",
    Severity.INFO,
    "a model without model_warmup",
    """Triton says that a model is ready as soon as it is loaded. `kserve-warmup triton` writes blocks from real
requests. It is told as info: a gate may warm it, and some models need none.""",
    cold,
    failing={"digits/config.pbtxt": _PLAIN, "digits/1/model.onnx": b"\0"},
    passing=example(),
)


def ensemble(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if an ensemble has a warm-up of its own, and one for each member without any."""
    if not is_ensemble(model.config):
        return
    if model.config.model_warmup:
        said = "Triton refuses model_warmup in an ensemble, and the model will not load: warm its members instead"
        yield Problem(model.within(0, "model_warmup"), said, severity=Severity.ERROR)
    for name in sorted({step.model_name for step in model.config.ensemble_scheduling.step}):
        if _is_cold(model.folder.parent / name):
            where = _place_of(model, name)
            yield Problem(where, f"its member {name} has no model_warmup that runs: the ensemble is ready cold")


def _is_cold(folder: Path) -> bool:
    if folder.name in ("", ".", "..") or "/" in folder.name:
        return False
    try:
        text = config_text(folder)
        if text is None:
            return False  # not here, or complete without one
        config = parse(text)
    except TritonConfigError:
        return False  # told where it stands
    return not is_ensemble(config) and not any(block.batch_size for block in config.model_warmup)


def _place_of(model: TritonModel, name: str) -> Position:
    found = model.text.find(f'"{name}"'.encode())
    return model.at(max(0, found))


_ENSEMBLE = """\
platform: "ensemble"
input { name: "X" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }
ensemble_scheduling {
  step { model_name: "digits" model_version: -1 input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } }
}
"""

MEMBERS = Rule(
    "triton-ensemble",
    Severity.WARNING,
    "an ensemble whose members are cold, or that is to be warmed itself",
    """An ensemble only passes tensors on: Triton refuses `model_warmup` in it (an error), and it is as warm as the
models that it names.""",
    ensemble,
    failing={"both/config.pbtxt": _ENSEMBLE, "digits/config.pbtxt": _PLAIN},
    passing={"both/config.pbtxt": _ENSEMBLE, **example()},
)


def uncovered(model: TritonModel, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the dynamic batcher makes sizes that no block has, and the backend pays for each new size."""
    who = pays_per_shape(model.config, model.folder)
    sizes = {block.batch_size for block in model.config.model_warmup if block.batch_size}
    if not who or not sizes:
        return
    wanted = set(model.config.dynamic_batching.preferred_batch_size) or set(sums(sizes, model.config.max_batch_size))
    wanted |= {model.config.max_batch_size}
    left = sorted(size for size in wanted - sizes if 0 < size <= model.config.max_batch_size)
    if left:
        shown = ", ".join(map(str, left[:_SHOWN])) + (" …" if len(left) > _SHOWN else "")
        said = f"the dynamic batcher can make batches of {shown}, which no block has: write one of each"
        yield Problem(model.within(0, "batch_size"), f"{who} does work anew for each batch size, and {said}")


_BATCHER = 'backend: "openvino"\ndynamic_batching {{ preferred_batch_size: [ {sizes} ] }}\n'


def _batching(sizes: str) -> dict[str, str | bytes]:
    files = dict(example())
    files["digits/config.pbtxt"] = _BATCHER.format(sizes=sizes) + str(files["digits/config.pbtxt"]).replace(
        "max_batch_size: 8", "max_batch_size: 1" if sizes == "1" else "max_batch_size: 8"
    )
    return files


UNCOVERED = Rule(
    "triton-batch-sizes",
    Severity.WARNING,
    "batch sizes that the dynamic batcher makes and no block covers",
    """Told for backends that do part of their work anew for each shape: ONNX Runtime, PyTorch and TensorFlow on a GPU,
OpenVINO, and Python models that import JAX. The batcher aims at the preferred sizes and at `max_batch_size`;
without preferred sizes it may make any sum of what comes.""",
    uncovered,
    failing=_batching("4, 8"),
    passing=_batching("1"),
)


def stale(model: TritonModel, known: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the generated part is out of date for the sample set, or was edited."""
    from kserve_warmup.triton.recorded import Recorded

    try:
        found = Recorded.read(model.text)
        if found is None:
            return
        where = model.at(found.span.start + 1)
        if found.edited:
            yield Problem(where, "the generated part was edited, which the next run of kserve-warmup triton undoes")
        elif known.samples is not None:
            why = _out_of_date(model, known.samples)
            if why:
                yield Problem(where, f"the generated warm-up is out of date: {why}; run kserve-warmup triton again")
    except WarmupError as error:
        yield Problem(Position(), str(error))


def _out_of_date(model: TritonModel, samples: Path) -> str:
    from kserve_warmup.triton.plan import Options
    from kserve_warmup.triton.repository import plan_repository

    folder = samples / model.name
    own = folder if folder.is_dir() else samples
    plans = plan_repository(model.folder.parent, own, [model.name], Options(keep=True)).models
    return next((plan.reason for plan in plans), "")


_EDITED = """\
backend: "onnxruntime"
max_batch_size: 0
# >>> kserve-warmup 00.0000000000000000: generated from real requests, edits in here are lost >>>
model_warmup { name: "mine" batch_size: 1 count: 2 }
# <<< kserve-warmup <<<
"""

STALE = Rule(
    "triton-stale",
    Severity.WARNING,
    "a generated warm-up that is out of date",
    """The generated part of a `config.pbtxt` was edited, or, with `--samples DIR`, the sample set or the configuration
has changed since: what `kserve-warmup triton --check` tells.""",
    stale,
    failing={"digits/config.pbtxt": _EDITED},
    passing=example(),
)
