"""Headers that warm-up requests carry: given as text or as files, never shown."""

import pytest

from kserve_warmup import WarmupError
from kserve_warmup.request_headers import parse_header_options, parse_headers


def test_names_are_in_lower_case_and_values_are_as_given():
    assert parse_headers('{"X-Api-Key": "k", "host": "flowers.example"}').read() == {
        "x-api-key": "k",
        "host": "flowers.example",
    }


def test_a_value_from_a_file_is_read_anew_each_time_without_its_line_end(tmp_path):
    file = tmp_path / "key"
    file.write_text("first\n")
    headers = parse_headers({"x-api-key": {"file": str(file)}})
    assert headers.read() == {"x-api-key": "first"}
    file.write_text("renewed")
    assert headers.read() == {"x-api-key": "renewed"}


def test_options_of_a_command_take_a_text_or_a_file(tmp_path):
    (tmp_path / "token").write_text("Bearer t")
    headers = parse_header_options(["Host: flowers.example", f"authorization: @{tmp_path / 'token'}"])
    assert headers.read() == {"host": "flowers.example", "authorization": "Bearer t"}


def test_no_value_shows_when_headers_are_printed():
    headers = parse_headers({"x-api-key": "secret"})
    assert "x-api-key" in repr(headers)
    assert "secret" not in f"{headers!r}{headers}"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("no json", "a JSON object"),
        ("[1]", "a JSON object"),
        ('{"a b": "secret"}', "is not a header's name"),
        ('{"": "secret"}', "is not a header's name"),
        ('{"content-length": "secret"}', "set by the client itself"),
        ('{"X-KServe-Warmup": "secret"}', "set by the client itself"),
        ('{"x": 1}', "neither a text"),
        ('{"x": {"file": ""}}', "neither a text"),
        ('{"x": {"file": "/k", "more": "secret"}}', "neither a text"),
        ('{"x": "secret\\r\\ny: z"}', "no header can have"),
        ('{"x": "sécret"}', "no header can have"),
    ],
)
def test_what_is_no_header_is_told_without_its_value(given, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        parse_headers(given)
    assert "cret" not in str(caught.value)


def test_an_option_without_a_colon_is_told_without_its_value():
    with pytest.raises(WarmupError, match="there is no colon") as caught:
        parse_header_options(["secret"])
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_holds_no_header_is_named_and_not_shown(tmp_path):
    with pytest.raises(WarmupError, match=r"x: cannot read .*nowhere"):
        parse_headers({"x": {"file": str(tmp_path / "nowhere")}}).read()
    (tmp_path / "bad").write_bytes(b"secret\nsecond line")
    with pytest.raises(WarmupError, match="no header can have") as caught:
        parse_headers({"x": {"file": str(tmp_path / "bad")}}).read()
    assert "secret" not in str(caught.value)
