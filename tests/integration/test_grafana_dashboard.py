"""The Grafana dashboard asks for series that a real server and a real gate have, by labels that they carry."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from gate_process import GateProcess
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text())
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES = [v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]


@pytest.fixture
def series(start, v1_set, tmp_path):
    """Return every series of a server and of its gate: the name, and the labels it carries."""
    server = start("OwnLoad", samples=v1_set, max_calls=5, capture_dir=tmp_path / "captured", capture_rate=1)
    server.wait_ready()
    server.predict()
    texts = [server.get("/metrics")[1].decode()]
    with GateProcess(f"http://127.0.0.1:{server.http}", v1_set, "--model", "model") as gate:
        gate.wait(lambda state: state["ready"])
        texts.append(gate.get("/metrics")[1])
    found = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_series_and_label_that_is_asked_for_exists(series):
    asked = {name for text in EXPRESSIONS + QUERIES for name in re.findall(r"kserve_warmup_\w+", text)}
    assert len(asked) > 8
    assert asked - series.keys() == set()
    for text in EXPRESSIONS:
        labels = {label.strip() for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(",")}
        matched = set(re.findall(r"(\w+)=~", text))
        for name in re.findall(r"kserve_warmup_\w+", text):
            assert labels | matched <= series[name], text


def test_every_series_of_a_warmup_is_shown(series):
    asked = {name for text in EXPRESSIONS for name in re.findall(r"kserve_warmup_\w+", text)}
    own = {name for name in series if name.startswith("kserve_warmup_") and not name.endswith("_created")}
    assert own - asked == set()


def test_panels_do_not_overlap_and_each_says_what_it_shows():
    places = [(p["gridPos"], p["title"]) for p in PANELS]
    for (a, _), (b, _) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart
    assert all(place["x"] + place["w"] <= 24 for place, _ in places)
    assert all(p["title"] and p["description"] for p in PANELS)
    assert len({p["id"] for p in PANELS}) == len(PANELS)


def test_no_data_source_of_one_installation_is_named():
    assert {json.dumps(t["datasource"]) for p in PANELS for t in p["targets"]} == {
        '{"type": "prometheus", "uid": "${datasource}"}'
    }
