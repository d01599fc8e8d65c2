"""What would not warm, or would break the server, is refused in one clear line before anything is written."""

import json

import pytest
from triton_models import PLAIN, generate, model, sample, save, x

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.protocols.bodies import request

ENSEMBLE = """
platform: "ensemble"
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
ensemble_scheduling { step [ { model_name: "first" model_version: -1 }, { model_name: "second" model_version: -1 } ] }
"""


@pytest.fixture
def refused(tmp_path):
    """Generate for one model and return the error's text, having checked that nothing was written."""

    def _refused(config, *samples, **options):
        folder = model(tmp_path / "models", "m", config)
        save(tmp_path / "samples", "m", *samples)
        with pytest.raises(WarmupError) as caught:
            generate(tmp_path / "models", tmp_path / "samples", ["m"], **options)
        assert (folder / "config.pbtxt").read_text() == config
        assert not (folder / "warmup").exists()
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith("model m: ")
        return message

    return _refused


def test_a_batch_above_the_models_limit(refused):
    assert "batch size 9 is above max_batch_size 8" in refused(PLAIN, sample(x(9)))


def test_an_asked_batch_above_the_models_limit(refused):
    assert "--batch-sizes: batch size 16 is above" in refused(PLAIN, sample(x()), batch_sizes=(16,))


def test_an_asked_batch_for_a_model_without_batching(refused):
    config = "input [ { name: 'X' data_type: TYPE_FP32 dims: [ 1, 4 ] } ]"
    assert "batch size 2 is above max_batch_size 0" in refused(config, sample(x()), batch_sizes=(2,))


def test_an_unknown_input(refused):
    assert "no input 'Z'; the model has X" in refused(PLAIN, sample(x(), x(name="Z")))


def test_a_missing_required_input(refused):
    config = PLAIN + "input [ { name: 'T' data_type: TYPE_FP32 dims: [ 1 ] } ]"
    assert "input 'T' is missing" in refused(config, sample(x()))


def test_another_type(refused):
    assert "its type is TYPE_FP64, the model takes TYPE_FP32" in refused(PLAIN, sample(x(dtype=float, datatype="FP64")))


def test_text_for_numbers(refused):
    body = json.dumps({"instances": [["a", "b", "c", "d"]]}).encode()
    assert "its type is TYPE_STRING" in refused(PLAIN, request("v1", body))


def test_another_shape(refused):
    assert "dims [5] do not fit the model's batch, then [4]" in refused(PLAIN, sample(x(width=5)))


def test_another_rank_without_batching(refused):
    config = "input [ { name: 'X' data_type: TYPE_FP32 dims: [ 4 ] } ]"
    assert "dims [1, 4] do not fit the model's [4]" in refused(config, sample(x()))


def test_inputs_without_a_common_batch(refused):
    config = PLAIN + "input [ { name: 'T' data_type: TYPE_FP32 dims: [ 4 ] } ]"
    assert "share no batch dimension" in refused(config, sample(x(1), x(2, name="T")))


def test_uneven_rows(refused):
    body = json.dumps({"instances": [[1, 2, 3, 4], [1, 2]]}).encode()
    assert "uneven" in refused(PLAIN, request("v1", body))


def test_a_request_without_tensors(refused):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    assert "without tensors" in refused(PLAIN, request("openai", body))


def test_an_ensemble_points_to_its_members(refused):
    assert "warm its members instead: first, second" in refused(ENSEMBLE, sample(x()))


def test_implicit_state(refused):
    state = "sequence_batching { state [ { input_name: 'I' output_name: 'O' data_type: TYPE_FP32 dims: [ 1 ] } ] }"
    assert "implicit state" in refused(PLAIN + state, sample(x()))


def test_a_shape_tensor_with_batching(refused):
    config = PLAIN.replace("dims: [ 4 ] }", "dims: [ 4 ] is_shape_tensor: true }", 1)
    assert "shape tensor" in refused(config, sample(x()))


def test_a_non_linear_format(refused):
    config = PLAIN.replace("dims: [ 4 ] }", "dims: [ 4 ] is_non_linear_format_io: true }", 1)
    assert "non-linear format" in refused(config, sample(x()))


def test_a_configuration_without_inputs(refused):
    assert "has no input" in refused("backend: 'onnxruntime'\n", sample(x()))


def test_a_configuration_that_cannot_be_read(refused):
    assert "not a model configuration: 1:" in refused("max_batch_size: ${size}\n", sample(x()))


@pytest.mark.parametrize("values", ["", "int32_false_true: [ 1 ]"])
def test_a_control_without_values(refused, values):
    control = f"{{ kind: CONTROL_SEQUENCE_START {values} }}"
    config = PLAIN + f"sequence_batching {{ control_input [ {{ name: 'S' control [ {control} ] }} ] }}"
    assert "control input 'S' has neither values nor a data_type" in refused(config, sample(x()))


@pytest.mark.parametrize("options", [{"count": 0}, {"max_blocks": 0}, {"batch_sizes": (0,)}])
def test_numbers_that_triton_would_take_for_none(options):
    with pytest.raises(TritonConfigError, match="at least 1"):
        generate(None, None, **options)


def template(folder, text):
    folder.mkdir()
    (folder / "model_warmup.pbtxt.j2").write_text(text)
    from kserve_warmup.triton.render import Templates

    return {"templates": Templates(folder)}


ONE = """{{% for b in blocks %}}model_warmup {{ name: {{{{ b.name }}}} batch_size: {batch} count: 2
inputs {{ key: {name} value {{ data_type: {kind} dims: {dims} {data} }} }} }}
{{% endfor %}}"""
GOOD = {
    "batch": "1",
    "name": '"X"',
    "kind": "TYPE_FP32",
    "dims": "[4]",
    "data": "input_data_file: {{ b.inputs[0].file }}",
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"batch": "0"}, "batch_size 0 would be skipped"),
        ({"batch": "9"}, "above max_batch_size"),
        ({"name": '"Q"'}, "no input 'Q'"),
        ({"kind": "TYPE_FP64"}, "its type is TYPE_FP64"),
        ({"dims": "[-1]"}, "Triton refuses -1"),
        ({"dims": "[5]"}, "do not fit"),
        ({"data": "zero_data: true"}, "zero_data is not real data"),
        ({"data": "random_data: false"}, "random_data is not real data"),
        ({"data": ""}, "no data is not real data"),
        ({"data": 'input_data_file: "../other/x"'}, "is not a file that this warm-up brings"),
        ({"data": 'input_data_file: "/etc/hostname"'}, "is not a file that this warm-up brings"),
    ],
)
def test_templates_are_held_to_the_same_rules(refused, tmp_path, change, problem):
    options = template(tmp_path / "templates", ONE.format(**{**GOOD, **change}))
    assert problem in refused(PLAIN, sample(x()), **options)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "wrote no model_warmup"),
        ("{{ block.nmae }}", "'block' is undefined"),
        ("max_batch_size: 64", "fields of another kind"),
        ("model_warmup { batch_size: 1 }\nfuture: 1", "fields of another kind"),
        ("model_warmup {", "never closed"),
        ("# \u00e9", "ASCII"),
        ("{% for %}", "template"),
        ("{{ blocks }}", "no form for"),
    ],
)
def test_templates_may_write_warm_up_only(refused, tmp_path, text, problem):
    assert problem in refused(PLAIN, sample(x()), **template(tmp_path / "templates", text))


def test_a_template_of_ones_own_is_used(tmp_path):
    folder = model(tmp_path / "models", "m")
    save(tmp_path / "samples", "m", sample(x()))
    options = template(tmp_path / "templates", "# ours\n" + ONE.format(**GOOD))
    generate(tmp_path / "models", tmp_path / "samples", **options)
    assert "# ours" in (folder / "config.pbtxt").read_text()


def test_data_cut_short_in_the_set_is_refused(tmp_path):
    model(tmp_path / "models", "m")
    sets = save(tmp_path / "samples", "m", sample(x()))
    (body,) = (sets / "m" / "bodies").iterdir()
    body.write_bytes(body.read_bytes()[:-1])
    with pytest.raises(WarmupError, match=r"model m: .*sample"):
        generate(tmp_path / "models", tmp_path / "samples")


def test_control_characters_never_reach_a_comment():
    from kserve_warmup.triton.render import comment

    assert comment("a\nmodel_warmup { é }") == "a?model_warmup { ? }"


def test_strings_of_a_v2_request_are_not_cast(refused):
    config = PLAIN.replace("TYPE_FP32", "TYPE_STRING")
    assert "the model takes TYPE_STRING" in refused(config, sample(x()))
