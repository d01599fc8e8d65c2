"""A request that the model does not take is left out and named with its share; many are an error."""

import json

import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.bodies import request


@pytest.fixture
def generated(tmp_path):
    """Generate for one model; return its blocks, what is warned of and the coverage."""

    def _generated(*samples, config=PLAIN, **options):
        folder = model(tmp_path / "models", "m", config)
        save(tmp_path / "samples", "m", *samples)
        (plan,) = generate(tmp_path / "models", tmp_path / "samples", **options).models
        return warmups(folder), plan.warning, plan.coverage

    return _generated


def untouched(tmp_path):
    folder = tmp_path / "models" / "m"
    return (folder / "config.pbtxt").read_text() == PLAIN and not (folder / "warmup").exists()


def test_one_is_left_out_with_its_share(generated):
    blocks, warning, coverage = generated(sample(x(), weight=0.995), sample(x(width=5), weight=0.005))
    assert [dims for _, _, inputs in blocks for dims, _ in inputs.values()] == [[4]]
    assert "left out 1 of 2 samples (0.50% of the traffic)" in warning
    assert "dims [5] do not fit the model's batch, then [4]" in warning
    assert coverage == pytest.approx(0.995)


@pytest.mark.parametrize(
    "misfit",
    [
        lambda: sample(x(9), weight=0.01),
        lambda: sample(x(), x(name="Z"), weight=0.01),
        lambda: sample(x(dtype=float, datatype="FP64"), weight=0.01),
        lambda: request("v1", json.dumps({"instances": [[1, 2, 3, 4], [1, 2]]}).encode(), weight=0.01),
        lambda: request("openai", b'{"model": "m", "messages": []}', weight=0.01),
    ],
    ids=["a batch above the limit", "an unknown input", "another type", "uneven rows", "no tensors"],
)
def test_whatever_does_not_fit_is_left_out(generated, misfit):
    blocks, warning, _ = generated(sample(x(), weight=0.99), misfit())
    assert [(batch, list(inputs)) for batch, _, inputs in blocks] == [(1, ["X"])]
    assert "left out 1 of 2 samples (1.00% of the traffic)" in warning


def test_values_that_do_not_fit_are_left_out_too(generated):
    config = PLAIN.replace("TYPE_FP32", "TYPE_INT32")
    whole, half = (json.dumps({"instances": [[1, 2, 3, v]] * n}).encode() for v, n in ((4, 1), (0.5, 2)))
    blocks, warning, _ = generated(request("v1", whole, weight=0.97), request("v1", half, weight=0.03), config=config)
    assert [batch for batch, _, _ in blocks] == [1]
    assert "JSON numbers do not fit TYPE_INT32 exactly" in warning


def test_more_than_the_limit_are_an_error_and_nothing_is_written(generated, tmp_path):
    with pytest.raises(TritonConfigError, match=r"model m: .* dims \[5\] .*6\.00% of the traffic.*--max-misfit 0\.05"):
        generated(sample(x(), weight=0.94), sample(x(width=5), weight=0.06))
    assert untouched(tmp_path)


def test_the_limit_is_a_choice(generated):
    blocks, warning, _ = generated(sample(x(), weight=0.6), sample(x(width=5), weight=0.4), max_misfit=0.5)
    assert len(blocks) == 1
    assert "40.00%" in warning


def test_a_limit_of_zero_allows_none(generated, tmp_path):
    with pytest.raises(TritonConfigError, match="--max-misfit 0 allows"):
        generated(sample(x(), weight=0.999), sample(x(width=5), weight=0.001), max_misfit=0.0)
    assert untouched(tmp_path)


def test_a_set_without_any_that_fits_is_an_error_whatever_the_limit(generated, tmp_path):
    with pytest.raises(TritonConfigError, match=r"2 of 2 samples"):
        generated(sample(x(width=5)), sample(x(width=6)), max_misfit=1.0)
    assert untouched(tmp_path)
