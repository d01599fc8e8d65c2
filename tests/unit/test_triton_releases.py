"""String correlation ids fail a warm-up from Triton 25.01 on: refused, unless only earlier servers load the model."""

import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.releases import CHECKS_CORRELATION_IDS, Release

CONTROL = "control_input [ {{ name: 'ID' control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: {} }} ] }} ]"


@pytest.fixture
def made(tmp_path):
    def _made(kind, **options):
        config = PLAIN + f"sequence_batching {{ {CONTROL.format(kind)} }}\n"
        folder = model(tmp_path / "models", "m", config)
        save(tmp_path / "samples", "m", sample(x()))
        try:
            generate(tmp_path / "models", tmp_path / "samples", **options)
        finally:
            text = (folder / "config.pbtxt").read_text()
        return warmups(folder), text == config

    return _made


@pytest.mark.parametrize(
    "options", [{}, {"release": Release.read("25.01")}, {"release": Release.read("2.67.0")}], ids=str
)
def test_a_string_id_is_refused_in_one_line(made, tmp_path, options):
    with pytest.raises(TritonConfigError, match=r"model m: control input 'ID': .*--triton-version 24\.12") as caught:
        made("TYPE_STRING", **options)
    assert "\n" not in str(caught.value)
    assert "model_warmup" not in (tmp_path / "models" / "m" / "config.pbtxt").read_text()


@pytest.mark.parametrize("release", ["24.12", "24.12-py3", "2.53.0", "v2.51.0", "23.04"])
def test_a_string_id_is_given_to_servers_that_take_it(made, release):
    blocks, _ = made("TYPE_STRING", release=Release.read(release))
    assert blocks[0][2]["ID"][1] == b"\1\0\0\x001"


@pytest.mark.parametrize("kind", ["TYPE_INT32", "TYPE_INT64", "TYPE_UINT32", "TYPE_UINT64"])
def test_whole_numbers_are_fine_everywhere(made, kind):
    assert len(made(kind)[0]) == 1


@pytest.mark.parametrize(
    ("container", "server"), [("25.01", "2.54.0"), ("24.12", "2.53.0"), ("24.10", "2.51.0"), ("22.12", "2.29.0")]
)
def test_a_container_is_the_server_within(container, server):
    assert Release.read(container) == Release.read(server)
    assert (Release.read(container) >= CHECKS_CORRELATION_IDS) == (container == "25.01")


@pytest.mark.parametrize("text", ["", "new", "25", "25.13", "9.9", "2.x"])
def test_what_is_no_release_is_one_line(text):
    with pytest.raises(TritonConfigError, match="no Triton release"):
        Release.read(text)
