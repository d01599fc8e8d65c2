"""Generated blocks go into a hand-written config.pbtxt, and nothing else in it changes."""

import pytest

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.pbtxt import merge, own_span, remove

BLOCK = """\
# half of the traffic
model_warmup {
  name: "01 # >>> {["
  batch_size: 1
  inputs { key: "X" value { data_type: TYPE_FP32 dims: [4] input_data_file: "x" } }
}
"""
CONFIG = b"""\
# A model that somebody wrote by hand.
name: 'classifier'   # the 'name' { of it
backend: "py" "thon"
max_batch_size: 8;
input [{ name: "X", data_type: TYPE_FP32, dims: [ 4 ] }]
output: < name: "Y" data_type: TYPE_FP32 dims: 4 >
parameters { key: "a\\"#b" value: { string_value: 'it\\'s { fine' } }
"""


def test_a_block_is_appended_and_taken_away_again():
    merged = merge(CONFIG, BLOCK, "ab")
    assert merged.startswith(CONFIG)
    assert [block.batch_size for block in parse(merged).model_warmup] == [1]
    assert remove(merged) == CONFIG


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"max_batch_size: 8",
        b"max_batch_size: 8\n\n\n",
        b"max_batch_size: 8 # no line end after this",
        b"max_batch_size: 8\r\ninput [ { name: 'X'\r\n data_type: TYPE_FP32 } ]\r\n",
        b"max_batch_size: 8\r\n# a carriage return at the end\r",
        b"\xef\xbb\xbfmax_batch_size: 8\n",
        b"# caf\xe9 in latin-1, {[\"'\nmax_batch_size: 8\n",
        b"field_of_the_future { deeper: [ 1, 2 ] x < y: 'z' > }\nmax_batch_size: 8\n",
        b"model_warmup [ { name: 'by hand' batch_size: 2 } ]\n",
        b"# the text >>> kserve-warmup is no marker\nmax_batch_size: 1\n",
    ],
)
def test_every_other_byte_stays(text):
    merged = merge(text, BLOCK, "ab")
    assert merged.startswith(text)
    assert remove(merged) == text
    mine = len(parse(text).model_warmup)
    assert len(parse(merged).model_warmup) == mine + 1


def test_a_second_run_with_the_same_blocks_changes_nothing():
    merged = merge(CONFIG, BLOCK, "ab")
    assert merge(merged, BLOCK, "ab") == merged


def test_new_blocks_take_the_place_of_old_ones():
    merged = merge(merge(CONFIG, BLOCK, "ab"), BLOCK.replace("batch_size: 1", "batch_size: 4"), "cd")
    assert [block.batch_size for block in parse(merged).model_warmup] == [4]
    assert remove(merged) == CONFIG


def test_what_is_written_after_the_blocks_stays_there():
    merged = merge(CONFIG, BLOCK, "ab") + b"version_policy { all {} }\n"
    again = merge(merged, BLOCK * 2, "cd")
    assert again.endswith(b"version_policy { all {} }\n")
    assert len(parse(again).model_warmup) == 2
    assert remove(again) == CONFIG + b"version_policy { all {} }\n"


def test_lines_around_a_removed_part_never_join():
    merged = merge(b"max_batch_size: 8", BLOCK, "ab") + b"name: 'x'\n"
    assert parse(remove(merged)).max_batch_size == 8
    assert parse(remove(merged)).name == "x"


def test_the_part_follows_the_line_ends_of_its_file():
    merged = merge(CONFIG.replace(b"\n", b"\r\n"), BLOCK, "ab")
    assert merged.count(b"\n") == merged.count(b"\r\n")


def test_converted_line_ends_are_no_edit():
    merged = merge(CONFIG, BLOCK, "ab").replace(b"\n", b"\r\n")
    span = own_span(merged)
    assert span is not None
    assert span.key == "ab"
    assert not span.edited(merged)
    assert remove(merged) == CONFIG.replace(b"\n", b"\r\n")


def test_an_edit_between_the_markers_is_seen():
    merged = merge(CONFIG, BLOCK, "ab").replace(b"batch_size: 1", b"batch_size: 0")
    span = own_span(merged)
    assert span is not None
    assert span.edited(merged)


def test_a_users_field_between_the_markers_is_not_thrown_away():
    merged = merge(CONFIG, BLOCK, "ab")
    for field in (b"version_policy { all {} }", b"future_field: 1"):
        moved_in = merged.replace(b"# <<< kserve-warmup", field + b"\n# <<< kserve-warmup")
        with pytest.raises(TritonConfigError, match="move them out"):
            merge(moved_in, BLOCK, "cd")
        with pytest.raises(TritonConfigError, match="move them out"):
            remove(moved_in)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b"# <<< kserve-warmup <<<\n", b""),
        lambda text: text + b"# <<< kserve-warmup <<<\n",
        lambda text: text[text.index(b"# >>>") :] + text[text.index(b"# >>>") :],
        lambda text: b"parameters {\n" + text + b"}\n",
        lambda text: b"# <<< kserve-warmup <<<\n" + text,
    ],
)
def test_damaged_markers_are_refused_with_their_line(damage):
    with pytest.raises(TritonConfigError, match=r"line \d+: a kserve-warmup marker"):
        merge(damage(merge(CONFIG, BLOCK, "ab")), BLOCK, "cd")


def test_markers_inside_a_string_are_text():
    text = b'name: "# <<< kserve-warmup <<<"\nbackend: "# >>> kserve-warmup ab.cd: x"\n'
    assert remove(merge(text, BLOCK, "ab")) == text


@pytest.mark.parametrize(
    "text",
    [
        b"max_batch_size: ${size}\n",
        b"input [ { name: 'X' }\n",
        b"input [ { name: 'X' } ] }\n",
        b"name: 'unfinished\n",
        b"max_batch_size:\n",
        b"input [ { name: 'X' > ]\n",
        b"name: 'x' \x00\n",
    ],
)
def test_what_triton_could_not_read_is_refused(text):
    with pytest.raises(TritonConfigError):
        merge(text, BLOCK, "ab")


def test_blocks_that_would_change_the_model_are_refused():
    with pytest.raises(TritonConfigError):
        merge(CONFIG, "max_batch_size: 64\n", "ab")
    with pytest.raises(TritonConfigError):
        merge(CONFIG, BLOCK + "field_of_the_future: 1\n", "ab")
