"""The demo's predictors on ``kserve.Model``, cold or warmed by hand in ``load()``: what the benchmarks compare with.

``python benchmarks/plain_predictors.py [--by-hand=PROTOCOL] REPOSITORY NAME…``
"""

import sys
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve import InferInput, InferRequest

from kserve_warmup.demo.inputs import Array, digits, speech
from kserve_warmup.demo.predictors import answer, load_core

BY_HAND_CALLS = 20


class Plain(kserve.Model):  # type: ignore[misc]
    """What a user has today."""

    repository = Path("model_repository")
    by_hand = ""

    def load(self) -> bool:
        self.core = load_core(self.repository / self.name / "1")
        if self.by_hand:
            payload = v1_payload(self.name) if self.by_hand == "v1" else v2_payload(self.name)
            for _ in range(BY_HAND_CALLS):
                self.predict(payload)
        self.ready = True
        return True

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:  # noqa: ARG002  (KServe passes it)
        return answer(self.name, self.core, payload)


def one_row(name: str) -> dict[str, Array]:
    if name.startswith("silero_vad"):
        return {"audio": speech()[20:21], "state": np.zeros((1, 2, 128), np.float32)}
    return {"image": digits()[0][:1]}


def v1_payload(name: str) -> dict[str, Any]:
    return {"instances": [{key: array[0].tolist() for key, array in one_row(name).items()}]}


def v2_payload(name: str) -> InferRequest:
    tensors = []
    for key, array in one_row(name).items():
        tensors.append(InferInput(key, list(array.shape), "FP32"))
        tensors[-1].set_data_from_numpy(array, binary_data=False)
    return InferRequest(name, tensors, request_id="by-hand")


def main() -> None:
    options = [a for a in sys.argv[1:] if a.startswith("--by-hand=")]
    repository, *names = [a for a in sys.argv[1:] if not a.startswith("--")]
    # KServe has parsed the command line by now, and leaves what it does not know alone
    Plain.repository = Path(repository)
    Plain.by_hand = options[0].partition("=")[2] if options else ""
    models = [Plain(name) for name in names]
    for model in models:
        model.load()
    kserve.ModelServer().start(models)


if __name__ == "__main__":
    main()
