"""Sizes that only the dynamic batcher makes are warmed where a backend pays for each new shape, and said to be such."""

import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x

from kserve_warmup.triton.batch_sizes import sums

BATCHER = "dynamic_batching { preferred_batch_size: [ 4 ] }\n"
ON_GPU = "instance_group [ { kind: KIND_GPU } ]\n"
ON_CPU = "instance_group [ { kind: KIND_CPU count: 2 } ]\n"


@pytest.fixture
def made(tmp_path):
    """Generate for one model, and return the batch sizes of its blocks in order; and its folder."""

    def _made(config, *batches, source="", **options):
        folder = model(tmp_path / "models", "m", PLAIN + config)
        (folder / "1" / "model.py").write_text(source)
        save(tmp_path / "samples", "m", *(sample(x(b), weight=1 / n) for n, b in enumerate(batches, 1)))
        generate(tmp_path / "models", tmp_path / "samples", **options)
        return [batch for batch, _, _ in warmups(folder)], (folder / "config.pbtxt").read_text()

    return _made


@pytest.mark.parametrize(
    "config",
    [
        "backend: 'onnxruntime'\n" + ON_GPU,
        "platform: 'onnxruntime_onnx'\n",
        "platform: 'pytorch_libtorch'\n",
        "backend: 'tensorflow'\n" + ON_GPU,
        "backend: 'openvino'\n" + ON_CPU,
        "backend: 'onnxruntime'\noptimization { execution_accelerators { "
        "cpu_execution_accelerator: [ { name: 'openvino' } ] } }\n" + ON_CPU,
    ],
)
def test_every_size_that_the_batcher_makes_after_those_that_it_aims_at(made, config):
    batches, text = made(config + BATCHER, 1)
    assert batches == [1, 4, 8, 2, 3, 5, 6, 7]
    assert text.count("a batch size that only the batcher makes; ") == 5


@pytest.mark.parametrize(
    "config", ["backend: 'python'\n", "platform: 'tensorrt_plan'\n", "backend: 'onnxruntime'\n" + ON_CPU, ""]
)
def test_where_nothing_is_known_to_pay_for_a_shape_the_batchers_aims_will_do(made, config):
    assert made(config + BATCHER, 1)[0] == [1, 4, 8]


def test_a_python_model_that_imports_jax_compiles_for_each(made):
    batches, text = made("backend: 'python'\n" + BATCHER, 2, source="import numpy\nimport jax.numpy as jnp\n")
    assert batches == [2, 4, 8, 6]  # two requests of 2 never make 3
    assert "JAX does part of its work anew" in text


def test_without_a_batcher_the_sizes_are_the_traffics(made):
    assert made("backend: 'onnxruntime'\n", 1, 2)[0] == [1, 2]


def test_asked_sizes_are_all(made):
    assert made("backend: 'onnxruntime'\n" + BATCHER, 1, batch_sizes=(1, 3))[0] == [1, 3]


@pytest.mark.parametrize(
    ("recorded", "largest", "expected"),
    [
        ([1], 4, [1, 2, 3, 4]),
        ([3, 5], 16, [3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ([1], 16, list(range(1, 17))),
        ([1], 64, [1, 2, 4, 8, 16, 32, 64]),
        ([3], 32, [3, 6, 12, 24]),
        ([8], 4, []),
    ],
)
def test_requests_add_up(recorded, largest, expected):
    assert sums(recorded, largest) == expected


def test_a_second_run_changes_nothing_and_other_backends_keep_what_they_have(tmp_path):
    for name, config in (("a", "backend: 'onnxruntime'\n"), ("b", "backend: 'python'\n")):
        model(tmp_path / "models", name, PLAIN + config + BATCHER)
        save(tmp_path / "samples", name, sample(x()))
    generate(tmp_path / "models", tmp_path / "samples")
    assert not generate(tmp_path / "models", tmp_path / "samples").changed


def test_a_configuration_without_inputs_goes_by_the_samples_and_keeps_its_bytes(tmp_path):
    sets = save(tmp_path / "samples", "m", sample(x(2)))
    source = "def auto_complete_config(c):\n    c.set_max_batch_size(4)\n"
    folder = model(tmp_path / "models", "m", "backend: 'python'  # mine\n")
    (folder / "1" / "model.py").write_text(source)
    generate(tmp_path / "models", sets, create=True)
    assert (folder / "config.pbtxt").read_text().startswith("backend: 'python'  # mine\n")
    assert "\ninput {" not in (folder / "config.pbtxt").read_text()
    ((batch, _, inputs),) = warmups(folder)
    assert (batch, inputs["X"][0]) == (2, [4])


def test_without_a_batch_size_in_its_source_a_python_model_takes_whole_requests(tmp_path):
    sets = save(tmp_path / "samples", "m", sample(x(2)))
    folder = model(tmp_path / "models", "m", "backend: 'python'\n")
    generate(tmp_path / "models", sets, create=True)
    ((batch, _, inputs),) = warmups(folder)
    assert (batch, inputs["X"][0]) == (1, [2, 4])


@pytest.mark.parametrize(
    ("config", "source"), [("backend: 'onnxruntime'", ""), ("backend: 'python'", "c.set_max_batch_size(n)")]
)
def test_nobody_guesses_whether_a_model_takes_batches(tmp_path, config, source):
    from kserve_warmup.errors import TritonConfigError

    sets = save(tmp_path / "samples", "m", sample(x(2)))
    folder = model(tmp_path / "models", "m", config)
    (folder / "1" / "model.py").write_text(source)
    with pytest.raises(TritonConfigError, match="nothing here tells whether the model takes batches"):
        generate(tmp_path / "models", sets, create=True)
    assert (folder / "config.pbtxt").read_text() == config
