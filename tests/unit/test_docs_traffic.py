"""docs/traffic.md says what is there, and its rules work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import request
from kserve_warmup.sampling.digest import FORMATS
from kserve_warmup.sampling.scrub.scrubber import KEY, Scrubber
from kserve_warmup.settings import WarmupSettings

TEXT = (Path(__file__).parents[2] / "docs" / "traffic.md").read_text(encoding="utf-8")


def test_every_format_has_its_line():
    table = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(table[1:]))) == sorted(FORMATS)


def test_settings_are_called_what_they_are_called():
    fields = {f"KSERVE_WARMUP_{name.upper()}" for name in WarmupSettings.model_fields} | {KEY}
    named = set(re.findall(r"(?:KSERVE_WARMUP)_[A-Z_]+", TEXT))
    assert named <= fields
    assert {f for f in fields if "CAPTURE" in f} <= named


def test_the_rules_take_out_what_they_say(tmp_path):
    (rules,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    scrubber = Scrubber.load([tmp_path / "rules.yaml"])
    row = {"text": "I am Anna", "customer_id": 1234, "age": 51, "address": {"street": "Elm 7"}}
    body = json.dumps({"instances": [row, row], "parameters": {"user": "anna"}}).encode()
    scrubbed = json.loads(scrubber(request("v1", body)).body)
    assert scrubbed["parameters"] == {}
    first, second = scrubbed["instances"]
    assert first["customer_id"] == second["customer_id"]
    assert first["age"] == 40
    assert not any(text in json.dumps(scrubbed) for text in ("Anna", "Elm 7", "anna"))
    with pytest.raises(SampleError, match=r"\$\.instances\[\*\]\.city"):
        scrubber(request("v1", json.dumps({"instances": [{"city": "Ulm"}]}).encode()))
