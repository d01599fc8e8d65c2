"""The demo measures what its clients sent before."""

import pytest

from kserve_warmup.demo.recordings import ALL_MODELS, MEASURED_BATCHES


@pytest.mark.parametrize("name", [name for name in ALL_MODELS if name.startswith("digits")])
def test_every_batch_size_that_is_measured_is_in_the_recorded_traffic(name):
    assert set(MEASURED_BATCHES) <= ALL_MODELS[name].batches.keys()
