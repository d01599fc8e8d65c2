"""The demo measures what its clients sent before."""

from pathlib import Path

import pytest

from kserve_warmup.demo.traffic import ALL_MODELS, MEASURED_BATCHES, home


@pytest.mark.parametrize("name", [name for name in ALL_MODELS if name.startswith("digits")])
def test_every_batch_size_that_is_measured_is_in_the_recorded_traffic(name):
    assert set(MEASURED_BATCHES) <= ALL_MODELS[name].batches.keys()


def test_models_of_torch_are_in_a_repository_of_their_own():
    homes = {name: home(Path("/demo/models"), name) for name in ALL_MODELS}

    assert homes["digits_mlp"] == Path("/demo/models")
    assert homes["silero_vad_jit"] == homes["digits_cnn"] == Path("/demo/models_torch")
