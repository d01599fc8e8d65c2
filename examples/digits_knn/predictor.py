"""A predictor as a team writes it: nearest neighbours in numba, whose first call compiles for seconds."""

import uuid
from pathlib import Path

import core  # the model itself, copied in from model_repository/digits_knn/1
from kserve import InferOutput, InferRequest, InferResponse

from kserve_warmup import WarmupModel


class Predictor(WarmupModel):
    def load(self) -> bool:
        self.digits = core.load(Path(__file__).parent)
        self.ready = True
        return self.ready

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, self.answer(payload))

    def answer(self, payload: InferRequest) -> list[InferOutput]:
        digit = self.digits({tensor.name: tensor.as_numpy() for tensor in payload.inputs})["digit"]
        output = InferOutput("digit", list(digit.shape), "INT64")
        output.set_data_from_numpy(digit, binary_data=False)
        return [output]
