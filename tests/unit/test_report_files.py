"""Where the reports of several models go: a file each, whatever the models are called."""

from dataclasses import replace
from pathlib import Path

from kserve_warmup import WarmupModel, WarmupReport, WarmupSettings
from kserve_warmup.gate.guard import Gate
from kserve_warmup.serving.lifecycle import lifecycle_of
from kserve_warmup.serving.process import PROCESS

REPORT = WarmupReport.from_json((Path(__file__).parents[1] / "data" / "reports" / "warmup-silero-vad.json").read_text())
NAMES = ("meta/llama", "../digits")
FILES = ["report-..%2Fdigits.json", "report-meta%2Fllama.json"]


class Empty(WarmupModel):
    def load(self):
        self.ready = True
        return True


def test_the_gate_writes_a_file_a_model_into_the_folder_that_was_named(tmp_path):
    settings = WarmupSettings(report=tmp_path / "inner" / "report.json")
    settings.report.parent.mkdir()
    Gate(None, (), settings, None, None)._write(tuple(replace(REPORT, model=name) for name in NAMES))
    assert sorted(p.name for p in settings.report.parent.iterdir()) == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["inner"]


def test_a_server_of_several_models_writes_a_file_a_model_into_the_folder_that_was_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KSERVE_WARMUP_REPORT", str(tmp_path / "report.json"))
    models = [Empty(name) for name in NAMES]
    for model in models:
        model.load()
        monkeypatch.setitem(PROCESS.models, id(model), model)
    for model in models:
        warmup = lifecycle_of(model).warmup
        warmup.report = replace(REPORT, model=model.name)
        warmup.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
