"""A KServe server of a made-up model: ``python -m benchmarks.time_to_warm_server VARIANT STYLE KIND.json NAME``.

Variants: ``cold`` and ``by_hand`` on ``kserve.Model``, ``warmup_model`` on WarmupModel, ``off`` the same with its
warm-up turned off by the environment. Styles: ``sync`` and ``async``, which says what ``predict`` is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse

from benchmarks.time_to_warm_models import Costs, Kind, burn, expand

BY_HAND_CALLS = 10


class MadeUp:
    """What all variants have in common; the answer tells which call of the process it is."""

    name: str
    kind: Kind

    def prepare(self) -> None:
        self.costs = Costs(self.kind, self.kind.noise)

    def cost(self, payload: Any) -> float:
        if isinstance(payload, InferRequest):
            given = payload.inputs[0].as_numpy()
        else:
            given = np.asarray([row["x"] for row in payload["instances"]], np.float32)
        return self.costs.next(self.kind.stratum(given.shape))

    def answer(self, payload: Any) -> Any:
        calls = self.costs.calls.total()
        if not isinstance(payload, InferRequest):
            return {"predictions": [0.5] * len(payload["instances"]), "calls": calls}
        output = InferOutput("calls", [1], "INT64")
        output.set_data_from_numpy(np.array([calls]), binary_data=False)
        return InferResponse(payload.id or "0", self.name, [output])


class Sync(MadeUp):
    def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002  (KServe passes it)
        (burn if self.kind.cpu else time.sleep)(self.cost(payload))
        return self.answer(payload)


class Async(MadeUp):
    async def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002  (KServe passes it)
        seconds = self.cost(payload)
        if self.kind.cpu:
            burn(seconds)
        else:
            await asyncio.sleep(seconds)
        return self.answer(payload)


def payload(kind: Kind, protocol: str, stratum: int, random: np.random.Generator) -> Any:
    """Return what KServe hands to predict."""
    array = kind.inputs(stratum, random)
    if protocol == "v1":
        return {"instances": [{"x": row} for row in array.tolist()]}
    tensor = InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array, binary_data=protocol != "v2")
    return InferRequest("m", [tensor], request_id="by-hand")


def warm_by_hand(model: Any, protocol: str) -> None:
    """Call predict, the strata taking turns: what is written into ``load()`` today, by somebody who knows them all."""
    random = np.random.default_rng(1)
    payloads = [payload(model.kind, spoken, s, random) for spoken, s in expand(model.kind, protocol)]
    for given in itertools.islice(itertools.cycle(payloads), BY_HAND_CALLS):
        found = model.predict(given)
        if asyncio.iscoroutine(found):
            loop = asyncio.new_event_loop()  # asyncio.run would take the main thread's loop away from ModelServer
            loop.run_until_complete(found)
            loop.close()


def main() -> None:
    variant, style, file, name = (argument for argument in sys.argv[1:] if not argument.startswith("--"))
    facts = json.loads(Path(file).read_text())
    base = kserve.Model
    if variant in ("warmup_model", "off"):
        from kserve_warmup import WarmupModel

        base = WarmupModel

    def load(self: Any) -> bool:
        self.prepare()
        if variant == "by_hand":
            warm_by_hand(self, facts["protocol"])
        self.ready = True
        return True

    mixin = Async if style == "async" else Sync
    model = type("Model", (mixin, base), {"kind": Kind.from_json(facts["kind"]), "load": load})(name)
    model.load()
    kserve.ModelServer().start([model])


if __name__ == "__main__":
    main()
