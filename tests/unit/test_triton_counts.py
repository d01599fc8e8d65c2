"""How often blocks run, what a budget leaves of it, and what the comment above the blocks says and is read for."""

import json

import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x
from typer.testing import CliRunner

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.counts import Cost, default_counts, total, within
from kserve_warmup.triton.recorded import Origin, comment, read_comment

NAMES = ("01 batch 1 X[4]", "02 batch 4 X[4]")


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def sets(tmp_path):
    return tmp_path / "samples"


@pytest.fixture
def folder(repository, sets):
    """A model with traffic of one row (three quarters) and of four."""
    save(sets, "m", sample(x(1), weight=0.75), sample(x(4), weight=0.25))
    return model(repository, "m")


def command(*arguments):
    import typer

    from kserve_warmup.cli.triton import run

    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [*map(str, arguments), "--no-prove-load"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def counts(folder):
    return [count for _, count, _ in warmups(folder)]


def said(folder):
    """The comment about the counts."""
    return [
        line for line in (folder / "config.pbtxt").read_text().splitlines() if line.startswith(("# counts", "# ms"))
    ]


@pytest.mark.parametrize(
    "rows", [[1], [8], [1, 2, 4] * 3, [1, 1, 1, 2, 2, 2, 4, 4, 4], [4, 4, 4, 1], [8, 1, 1], [1, 8], [1] * 16]
)
def test_default_counts_cost_at_most_one_and_a_half_times_two_calls_a_block(rows):
    found = default_counts(rows)
    assert found[0] > 2 or rows[0] > sum(rows[1:])
    assert set(found[1:]) <= {2}
    assert sum(c * r for c, r in zip(found, rows, strict=True)) <= 1.5 * 2 * sum(rows)
    assert sum(found) <= 1.5 * 2 * len(rows)


def test_a_budget_gives_every_block_its_first_call_before_any_a_second():
    costs = [Cost(1.0, 0.1), Cost(1.0, 0.1), Cost(1.0, 0.1)]
    assert within([10, 2, 2], costs, 100) == [10, 2, 2]
    assert within([10, 2, 2], costs, 3.35) == [2, 2, 2]
    assert within([10, 2, 2], costs, 3.15) == [2, 1, 1]
    assert within([10, 2, 2], costs, 2.5) == [5, 2, 0]
    assert within([10, 2, 2], costs, 0.5) == [1, 0, 0]


def test_a_budget_is_kept_whatever_it_is():
    costs = [Cost(0.3, 0.02), Cost(0.1, 0.1), Cost(0.5, 0.04), Cost(0.05, 0.05)]
    for hundredths in range(31, 300):
        found = within([12, 2, 7, 3], costs, hundredths / 100)
        assert total(found, costs) <= hundredths / 100 + 1e-9


@pytest.mark.parametrize(
    "origin", [Origin(), Origin(True), Origin(count=7), Origin(True, None, 5.0), Origin(False, 3, 0.25)]
)
def test_the_comment_is_read_as_it_was_written(origin):
    costs = [Cost(0.8123, 0.0021), Cost(0.64, 0.0083)]
    for given in (None, costs):
        text = comment(origin, [3, 2], [1, 4], given)
        assert read_comment(f"# marker\n{text}model_warmup {{ }}\n".encode()) == (origin, given)
        assert read_comment(f"\n# marker\n{text}".replace("\n", "\r\n").encode())[0] == origin


def test_a_comment_that_somebody_has_broken_says_nothing():
    assert read_comment(b"# marker\n# counts: something: else\n") == (None, None)
    assert read_comment(
        b"# marker\n# counts: default: 1\n# ms of each block's first call, and of later ones: 1 2 3, .\n"
    ) == (
        Origin(),
        None,
    )


def test_the_default_says_what_it_runs(repository, sets, folder):
    generate(repository, sets)
    assert counts(folder) == [4, 2]
    assert said(folder) == ["# counts: default: 6 calls of 12 rows an instance; latency is not known"]


def test_rows_without_batching_are_counted_too(repository, sets):
    folder = model(repository, "m", "input [ { name: 'X' data_type: TYPE_FP32 dims: [ -1, 4 ] } ]")
    save(sets, "m", sample(x(3), weight=0.6), sample(x(2), weight=0.4))
    generate(repository, sets)
    assert said(folder) == ["# counts: default: 5 calls of 13 rows an instance; latency is not known"]


def test_a_budget_without_latencies_bounds_the_rows_and_says_so(repository, sets, folder):
    generate(repository, sets, max_seconds=0.65)
    assert counts(folder) == [2, 1]
    (line,) = said(folder)
    assert line.startswith("# counts: default within 0.65 s: 3 calls of 6 rows an instance; latency is not known")
    assert line.endswith("so a row is taken for 0.1 s")


def test_a_budget_that_is_too_small_leaves_the_rarest_out_and_names_its_share(repository, sets, folder):
    (plan,) = generate(repository, sets, max_seconds=0.3).models
    assert counts(folder) == [3]
    assert plan.coverage == pytest.approx(0.75)
    assert plan.warning == "--max-seconds 0.3 leaves out 1 of 2 blocks, 25.0% of the traffic"
    assert len(list((folder / "warmup").iterdir())) == 1


def test_a_budget_below_a_single_call_is_announced(repository, sets, folder):
    (plan,) = generate(repository, sets, max_seconds=0.05).models
    assert counts(folder) == [1]
    assert plan.warning.startswith("--max-seconds 0.05 is less than the one call that is left takes, 0.1 s; ")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
@pytest.mark.usefixtures("folder")
def test_a_budget_that_is_none_is_one_line(repository, sets, seconds):
    with pytest.raises(TritonConfigError, match="--max-seconds must be a positive number"):
        generate(repository, sets, max_seconds=seconds)


@pytest.mark.parametrize("options", [[], ["--count", 7], ["--max-seconds", 0.6], ["--count", 50, "--max-seconds", 2]])
def test_what_was_asked_for_stays_until_something_else_is(repository, sets, folder, options):
    command(repository, "--samples", sets, *options)
    written = (folder / "config.pbtxt").read_bytes()
    assert command(repository, "--samples", sets, *options, "--check") == (0, "m: up to date\n")
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")
    assert command(repository, "--samples", sets) == (0, "m: up to date\n")
    assert (folder / "config.pbtxt").read_bytes() == written
    code, output = command(repository, "--samples", sets, "--check", "--count", 9)
    assert code == 1
    assert "not '--count 9'" in output


def test_a_count_that_was_asked_for_is_kept_when_samples_change(repository, sets, folder):
    command(repository, "--samples", sets, "--count", 7)
    save(sets / "other", "m", sample(x(2)))
    assert command(repository, "--samples", sets / "other", "--check")[0] == 1
    command(repository, "--samples", sets / "other")
    assert counts(folder) == [7]


MEASURED = {
    "counts": {"m": {NAMES[0]: 9, NAMES[1]: 3}},
    "costs": {"m": {NAMES[0]: Cost(0.5, 0.05), NAMES[1]: Cost(0.6, 0.2)}},
}


def test_measured_counts_say_what_they_cost(repository, sets, folder):
    generate(repository, sets, **MEASURED)
    assert counts(folder) == [9, 3]
    assert said(folder) == [
        "# counts: calibrated: 12 calls of 21 rows an instance, 1.9 s",
        "# ms of each block's first call, and of later ones: 500.000 50.000, 600.000 200.000",
    ]
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")


def test_a_budget_cuts_measured_counts_by_what_was_measured(repository, sets, folder):
    generate(repository, sets, **MEASURED)
    assert command(repository, "--samples", sets, "--check", "--max-seconds", 2) == (0, "m: up to date\n")
    code, output = command(repository, "--samples", sets, "--check", "--max-seconds", 1.4)
    assert (code, output) == (1, "m: out of date, its counts are 'calibrated', not 'calibrated within 1.4 s'\n")
    command(repository, "--samples", sets, "--max-seconds", 1.4)
    assert counts(folder) == [3, 2]
    assert "calibrated within 1.4 s: 5 calls of 11 rows an instance, 1.4 s" in said(folder)[0]
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")


def test_a_lost_data_file_does_not_lose_measured_counts(repository, sets, folder):
    generate(repository, sets, **MEASURED)
    next((folder / "warmup").iterdir()).unlink()
    command(repository, "--samples", sets)
    assert counts(folder) == [9, 3]


def test_measured_counts_of_other_samples_give_way_to_the_default(repository, sets, folder):
    generate(repository, sets, **MEASURED)
    save(sets / "other", "m", sample(x(2)))
    command(repository, "--samples", sets / "other")
    assert counts(folder) == [3]
    assert said(folder)[0].startswith("# counts: default:")


def test_an_edited_comment_is_no_way_to_choose_counts(repository, sets, folder):
    generate(repository, sets)
    config = folder / "config.pbtxt"
    config.write_bytes(config.read_bytes().replace(b"counts: default:", b"counts: --count 900:"))
    assert "was edited" in command(repository, "--samples", sets, "--check")[1]
    command(repository, "--samples", sets)
    assert counts(folder) == [4, 2]


def former(folder):
    """What a release without the comment wrote: the same key, and counts without a word where they came from."""
    from kserve_warmup.triton import pbtxt

    text = (folder / "config.pbtxt").read_bytes()
    span = pbtxt.own_span(text)
    lines = [
        line
        for line in span.inside(text).decode().strip("\n").split("\n")[1:-1]
        if not line.startswith(("# counts", "# ms"))
    ]
    (folder / "config.pbtxt").write_bytes(pbtxt.merge(text, "\n".join(lines) + "\n", span.key))


def test_fifty_calls_of_an_earlier_release_are_out_of_date_unless_they_are_asked_for(repository, sets, folder):
    generate(repository, sets, count=50)
    former(folder)
    assert command(repository, "--samples", sets, "--check", "--count", 50) == (0, "m: up to date\n")
    code, output = command(repository, "--samples", sets, "--check")
    assert code == 1
    assert "an earlier release's, 50 for every block, which --count 50 keeps" in output
    command(repository, "--samples", sets)
    assert counts(folder) == [4, 2]


def test_measured_counts_of_an_earlier_release_stay(repository, sets, folder):
    generate(repository, sets, **MEASURED)
    former(folder)
    assert not said(folder)
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")
    assert command(repository, "--samples", sets) == (0, "m: up to date\n")


def test_a_template_of_ones_own_keeps_the_comment(repository, sets, folder, tmp_path):
    (tmp_path / "own").mkdir()
    own = (
        "{% for b in blocks %}model_warmup { name: {{ b.name }} batch_size: {{ b.batch_size }} count: {{ b.count }}\n"
        "{% for i in b.inputs %}inputs { key: {{ i.name }} value { data_type: {{ i.data_type | enum }} dims: [4] "
        "input_data_file: {{ i.file }} } }{% endfor %} }\n{% endfor %}"
    )
    (tmp_path / "own" / "model_warmup.pbtxt.j2").write_text(own)
    arguments = [repository, "--samples", sets, "--templates", tmp_path / "own"]
    command(*arguments, "--max-seconds", 0.6)
    assert said(folder)[0].startswith("# counts: default within 0.6 s:")
    assert command(*arguments, "--check") == (0, "m: up to date\n")


def test_the_block_of_a_sequence_runs_once_whatever_is_asked(repository, sets):
    control = 'sequence_batching { control_input [ { name: "S" control [ { kind: CONTROL_SEQUENCE_START '
    folder = model(repository, "m", PLAIN + control + "fp32_false_true: [ 0, 1 ] } ] } ] }")
    save(sets, "m", sample(x(1), weight=0.75), sample(x(4), weight=0.25))
    generate(repository, sets, count=50)
    assert counts(folder) == [1, 1]


@pytest.mark.usefixtures("folder")
def test_json_tells_the_counts(repository, sets):
    _, output = command(repository, "--samples", sets, "--json")
    assert [b["count"] for b in json.loads(output)["models"][0]["blocks"]] == [4, 2]
