"""What a changed torch does to the counts of its compiles: less is told, and no call of a model's is harmed."""

import sys
from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest

from kserve_warmup.caches.inductor_cache import InductorCache


@pytest.fixture
def torch(monkeypatch, tmp_path):
    """Torch's modules as far as they are read: counters, and a cache of graphs that has what ``found`` says."""
    counters = defaultdict(Counter)
    utils = SimpleNamespace(counters=counters)
    graphs = SimpleNamespace(_get_tmp_dir_for_key=lambda key: str(tmp_path / key))
    graphs.load_with_key = lambda *_, **__: graphs.found
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", utils)
    monkeypatch.setitem(sys.modules, "torch._inductor.codecache", SimpleNamespace(FxGraphCache=graphs))
    return SimpleNamespace(utils=utils, counters=counters["inductor"], graphs=graphs)


def test_a_torch_that_loads_graphs_in_another_way_is_counted_by_its_counters(torch):
    del torch.graphs.load_with_key
    cache = InductorCache()
    cache.watch()
    torch.counters.update(fxgraph_cache_hit=2, fxgraph_cache_miss=1)
    found = cache.count()
    assert (found.hit, found.compiled, found.seconds_saved, found.told) == (2, 1, None, True)


@pytest.mark.parametrize("found", [None, (), ("graph", None), ("graph", {}), ("graph", {"time_saved_ns": "long"})])
def test_an_answer_of_another_shape_comes_through_as_it_is_and_tells_no_seconds(torch, found):
    cache = InductorCache()
    cache.watch()
    torch.graphs.found = found
    assert torch.graphs.load_with_key("key") is found
    assert cache.count().seconds_saved is None


def test_a_graph_that_fails_to_load_fails_as_before_where_the_folder_is_not_ours(torch):
    def fails(*_, **__):
        raise OSError("too short")

    torch.graphs.load_with_key = fails
    cache = InductorCache()
    cache.watch()
    with pytest.raises(OSError, match="too short"):
        torch.graphs.load_with_key("key")


def test_a_graph_that_fails_to_load_from_our_folder_is_asked_for_again_once_that_is_put_aside(torch, tmp_path):
    folder = tmp_path / "caches"
    (folder / "inductor").mkdir(parents=True)
    asked = []

    def load(key):
        asked.append(key)
        if (folder / "inductor").exists():
            raise OSError("too short")
        return None, {}

    torch.graphs.load_with_key = load
    cache = InductorCache()
    cache.switch_on(folder)
    cache.watch()
    assert torch.graphs.load_with_key("key") == (None, {})
    assert asked == ["key", "key"]
    assert "OSError: too short" in cache.count().note


def test_seconds_are_those_that_the_compile_took_without_those_of_the_load(torch):
    cache = InductorCache()
    cache.watch()
    torch.graphs.found = "graph", {"time_saved_ns": 3_000_000_000}
    torch.graphs.load_with_key(key="key")
    assert 0 < cache.count().seconds_saved < 3


def test_a_graph_that_is_missed_twice_on_its_way_is_one(torch):
    torch.counters.update(fxgraph_cache_miss=4)
    torch.utils.compilation_time_metrics = {"fx_codegen_and_compile": [1.0, 1.0]}
    assert InductorCache().count().compiled == 2


def test_entries_whose_guards_do_not_hold_are_another_program_and_not_rejected(torch, tmp_path):
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "entry").touch()
    cache = InductorCache()
    cache.watch()
    torch.counters.update(fxgraph_cache_miss=2)
    torch.graphs.found = None, {"cache_status_detailed": "guard_miss"}
    torch.graphs.load_with_key("key")
    assert cache.count().rejected == 0
    torch.graphs.found = None, {"cache_status_detailed": "full_miss"}
    torch.graphs.load_with_key("key")
    assert cache.count().rejected == 1
