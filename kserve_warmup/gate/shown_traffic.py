"""Traffic that a gate is shown: what KServe's inference logger sends beside it tells which kinds it never warmed.

Without ``--traffic`` nothing of this is loaded. A request is looked at by the watch that a ``WarmupModel`` has too: its
metric, its warnings and, with ``KSERVE_WARMUP_CAPTURE_DIR``, its records.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from kserve_warmup.capture.capturing import CAPTURE
from kserve_warmup.errors import SampleError
from kserve_warmup.gate.gate_plan import ModelSamples
from kserve_warmup.monitor.taken_request import TakenRequest
from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.monitor.watch import Watch
from kserve_warmup.sampling.formats.cloudevents import request_of_message
from kserve_warmup.settings import WarmupSettings

logger = logging.getLogger("kserve_warmup.gate")

_MODEL_HEADERS = ("ce-inferenceservicename", "ce-modelid")


class ShownTraffic:
    """Looks at the requests of the models behind one gate."""

    def __init__(self, sets: Sequence[ModelSamples]) -> None:
        """Begin to watch for what the samples do not stand for.

        Raises:
            SampleError: the capture's scrub rules cannot be used.
        """
        self._models = [samples.model for samples in sets]
        self._watch = Watch(CAPTURE)
        self._said = False
        settings = WarmupSettings()
        for samples in sets:
            CAPTURE.add(samples.model, settings)
            self._watch.begin(samples.model, WarmedStrata(sample.stratum for sample in samples))

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take one event; ``headers`` have names in lower case. A response, or what is no event, is passed over."""
        try:
            record = request_of_message(headers, body)
        except SampleError as error:
            self._say(f"/traffic was sent what cannot be used: {error}")
            return
        if record is None:
            return
        model = self._model(headers)
        if model is None:
            self._say(f"/traffic was sent a request of none of {', '.join(self._models)}: it is not looked at")
            return
        path = headers.get("ce-type", "")
        self._watch.ended(TakenRequest(model, path, lambda: record, len(record.body)), success=True)

    def _model(self, headers: Mapping[str, str]) -> str | None:
        if len(self._models) == 1:
            return self._models[0]
        named = [headers[name] for name in _MODEL_HEADERS if name in headers]
        return next((name for name in named if name in self._models), None)

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            logger.warning("%s; said once", what)
