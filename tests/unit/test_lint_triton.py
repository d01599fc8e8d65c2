"""What the lint says of repositories that the generator wrote, and of texts that nobody should have written."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from triton_models import PLAIN, generate, model, sample, save, x

from kserve_warmup.lint.findings import Knowledge, Severity, UnreadableError
from kserve_warmup.lint.lint_run import lint
from kserve_warmup.lint.manifest_lint import lint_manifests, read_manifest
from kserve_warmup.lint.rule_list import RULES
from kserve_warmup.lint.triton_models import read_model_file

BATCHING = PLAIN + 'backend: "openvino"\ndynamic_batching { }\n'


def told(repository, samples=None):
    outcome = lint([str(repository)], Knowledge(samples=samples))
    assert outcome.unreadable == ()
    return [(f.rule, f.message) for f in outcome.findings if f.severity > Severity.INFO]


@pytest.fixture
def generated(tmp_path):
    folder = model(tmp_path / "models", "digits", BATCHING)
    sets = save(tmp_path / "sets", "digits", sample(x(1), weight=0.6), sample(x(2), weight=0.4))
    generate(tmp_path / "models", sets)
    return folder, sets


def test_what_the_generator_wrote_is_in_order(generated):
    folder, sets = generated
    assert told(folder.parent) == []
    assert told(folder.parent, sets) == []


def test_samples_that_changed_since_are_told_where_the_generated_part_begins(generated):
    folder, sets = generated
    save(sets, "digits", sample(x(4)))
    [(rule, message)] = told(folder.parent, sets)
    assert rule == "triton-stale"
    assert "samples, options or configuration changed" in message


def test_an_edited_part_is_told_without_samples(generated):
    folder, _ = generated
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("batch_size: 2", "batch_size: 3"))
    assert "triton-stale" in {rule for rule, _ in told(folder.parent)}


def test_a_configuration_that_is_none_is_one_line_and_its_neighbour_is_looked_at(generated):
    folder, _ = generated
    model(folder.parent, "broken", "max_batch_size: }")
    model(folder.parent, "plain")
    outcome = lint([str(folder.parent)], Knowledge())
    [line] = outcome.unreadable
    assert "broken/config.pbtxt: " in line
    assert [f.path.split("/")[-2] for f in outcome.findings] == ["plain"]


TEXTS = [next(iter(rule.failing.values())) for rule in RULES.values()]
PIECES = [*"{}[]|\n0", "- ", "&a ", "*a", "<<: *a", "? ", "  ", ": ", "null", "'", '"', "{{ x }}", "\x00", "\ud800"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_text_is_more_than_an_unreadable_one(data, tmp_path_factory):
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        drop = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + drop :]
    manifest = read_manifest("a.yaml", text)
    if manifest is not None:
        list(lint_manifests([manifest], Knowledge((70.0,), "report")))
    config = tmp_path_factory.getbasetemp() / "config.pbtxt"
    with contextlib.suppress(UnreadableError):
        read_model_file(config, text.encode("utf-8", "surrogateescape" if "\ud800" not in text else "surrogatepass"))


@pytest.mark.parametrize(
    "text",
    [
        "kind: InferenceService\napiVersion: serving.kserve.io/v1\nspec: &a {<<: {<<: *a}}\n",
        "&a\nkind: List\napiVersion: serving.kserve.io/v1\nitems: [*a, *a]\n",
        "apiVersion: serving.kserve.io/v1\nkind: ServingRuntime\nspec: {containers: &c [*c]}\n",
        "serving.kserve.io/\n" + "[" * 100_000,
        "apiVersion: serving.kserve.io/v1\nkind: InferenceService\nspec: [predictor]\nmetadata: x\n",
    ],
)
def test_a_text_that_holds_itself_comes_to_an_end(text):
    manifest = read_manifest("a.yaml", text)
    assert list(lint_manifests([manifest], Knowledge())) == []


def test_a_member_whose_blocks_never_run_is_cold_and_one_elsewhere_is_not_known(tmp_path):
    rule = RULES["triton-ensemble"]
    for name, content in {**rule.passing, **RULES["triton-batch-zero"].failing}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert {rule for rule, _ in told(tmp_path)} == {"triton-ensemble", "triton-batch-zero"}
    (tmp_path / "digits" / "config.pbtxt").unlink()
    assert told(tmp_path) == []


def test_an_ensemble_with_blocks_of_its_own_is_an_error(tmp_path):
    text = str(RULES["triton-ensemble"].passing["both/config.pbtxt"])
    model(tmp_path, "both", text + 'model_warmup { name: "a" batch_size: 1 count: 2 }\n')
    [finding] = lint([str(tmp_path)], Knowledge()).findings
    assert (finding.severity, finding.position.line) == (Severity.ERROR, text.count("\n") + 1)
