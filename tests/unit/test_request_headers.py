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


@pytest.mark.parametrize("content", ["t0k", "Bearer t0k", "bearer t0k\n"])
def test_a_bare_token_in_a_file_gets_its_scheme_and_one_that_has_it_keeps_it(tmp_path, content):
    file = tmp_path / "token"
    file.write_text(content)
    for headers in (
        parse_header_options([f"Authorization: Bearer @{file}"]),
        parse_headers({"authorization": {"file": str(file), "scheme": "Bearer"}}),
    ):
        assert headers.read()["authorization"].lower() == "bearer t0k"
        assert "t0k" not in repr(headers)


def test_an_at_sign_in_another_header_s_value_is_no_file():
    headers = parse_header_options(["x-mail: to @somebody", "authorization: Basic YTpi"])
    assert headers.read() == {"x-mail": "to @somebody", "authorization": "Basic YTpi"}


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
        ('{"x": {"file": "/k", "scheme": "a b"}}', "neither a text"),
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
