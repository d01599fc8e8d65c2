"""Templates that come with somebody else's repository: they reach nothing, and take neither the machine nor the day."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from triton_models import generate, model, sample, save, x

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.files import shipped
from kserve_warmup.triton import render
from kserve_warmup.triton.render import LARGEST, WARMUP_TEMPLATE, Templates


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "templates").mkdir()
    return tmp_path / "templates"


def refused(templates, text=None):
    """The line with which a template is refused."""
    if text is not None:
        (templates / WARMUP_TEMPLATE).write_text(text)
    with pytest.raises(TritonConfigError) as caught:
        Templates(templates).warmup(())
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10**10 }}",
        "{% set a = ['a'] * 10**10 %}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ 'a' | center(10**10) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% set ns = namespace(a='a') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    ],
)
def test_a_template_that_asks_for_gigabytes_is_one_line(templates, text):
    assert WARMUP_TEMPLATE in refused(templates, text)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 10**(10**9) }}",
        "{% set a = 7**(10**9) %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ 'a' * 99999 }}{% endfor %}{% endfor %}",
        "{% macro again() %}{% for i in range(99999) %}{{ again() }}{% endfor %}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_that_does_not_end_is_ended(templates, text, monkeypatch):
    monkeypatch.setattr(render, "SECONDS", 0.5)
    assert WARMUP_TEMPLATE in refused(templates, text)


def test_a_template_that_writes_and_writes_is_one_line(templates):
    assert "writes more than 4 MiB" in refused(templates, "{% for i in range(99) %}{{ 'a' * 99999 }}{% endfor %}")


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() | length }}",
        "{{ blocks.__class__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.getpid() }}",
        "{{ lipsum.__globals__['os'].getpid() }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_a_template_reaches_no_code(templates, text):
    assert "unsafe" in refused(templates, text) or "undefined" in refused(templates, text)


@pytest.mark.parametrize("text", ["{{ 1 / 0 }}", "{{ 1 + 'a' }}", "{{ blocks[7].name }}", "{% include 'nowhere' %}"])
def test_whatever_a_template_gets_wrong_is_one_line(templates, text):
    assert f"template {WARMUP_TEMPLATE}: " in refused(templates, text)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret", "link", "sub"])
def test_a_template_includes_nothing_from_outside_its_folder(templates, tmp_path, name):
    (tmp_path / "secret").write_text("# secret")
    (templates / "sub").mkdir()
    (templates / "link").symlink_to(tmp_path / "secret")
    line = refused(templates, f"{{% include '{name}' %}}")
    assert ("is no regular file" if name == "sub" else "leads out of") in line
    assert "# secret" not in line


def test_a_template_may_include_its_neighbours_also_from_a_config_map(templates):
    version = templates / "..2026_01_01"
    version.mkdir()
    (version / WARMUP_TEMPLATE).write_text("{% include 'head' %}")
    (version / "head").write_text("# ours")
    (templates / "..data").symlink_to(version.name)
    for name in (WARMUP_TEMPLATE, "head"):
        (templates / name).symlink_to(f"..data/{name}")
    assert Templates(templates).warmup(()) == "# ours"


def test_a_pipe_a_device_or_a_giant_for_a_template_is_one_line(templates):
    file = templates / WARMUP_TEMPLATE
    os.mkfifo(file)
    assert "is no regular file" in refused(templates)
    file.unlink()
    file.symlink_to("/dev/zero")
    assert "leads out of" in refused(templates)
    file.unlink()
    file.write_text("#" * (LARGEST + 1))
    assert "has more than 1 MiB" in refused(templates)
    file.write_bytes(b"\xff")
    assert "cannot be read" in refused(templates)


def test_no_process_is_left(templates):
    before = psutil.Process().children()
    refused(templates, "{{ 'a' * 10**10 }}")
    refused(templates, "{{ 1 / 0 }}")
    assert psutil.Process().children() == before


def test_a_copy_of_our_templates_writes_what_ours_write(templates, tmp_path):
    for file in shipped("triton_templates").glob("*.j2"):
        shutil.copy(file, templates)
    save(tmp_path / "samples", "m", sample(x()))
    for name, options in (("a", {}), ("b", {"templates": Templates(templates)})):
        model(tmp_path / name, "m")
        generate(tmp_path / name, tmp_path / "samples", **options)
    one, other = ((tmp_path / name / "m" / "config.pbtxt").read_text() for name in "ab")
    assert one == other
    assert "model_warmup" in one


def test_our_own_templates_may_be_installed_as_links(templates, monkeypatch):
    for file in shipped("triton_templates").glob("*.j2"):
        (templates / file.name).symlink_to(file)
    monkeypatch.setattr("kserve_warmup.triton.render.shipped", lambda _: templates)
    assert "model_warmup" in Templates().source(WARMUP_TEMPLATE)
    assert Templates().warmup(()) == ""


def test_the_command_line_says_it_in_one_line(templates, tmp_path):
    model(tmp_path / "models", "m")
    save(tmp_path / "samples", "m", sample(x()))
    (templates / WARMUP_TEMPLATE).write_text("{{ 'a' * 10**10 }}")
    code = "from kserve_warmup.cli import main; main()"
    arguments = ["triton", tmp_path / "models", "--samples", tmp_path / "samples", "--templates", templates]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    expected = f"model m: template {WARMUP_TEMPLATE}: it takes more than 512 MiB of memory, or crashes"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"kserve-warmup: {expected}\n")
