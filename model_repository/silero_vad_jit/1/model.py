"""Triton's side of the model: the requests that the scheduler gathered are one batch for the model."""

from pathlib import Path

import core
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.model = core.load(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: list) -> list:
        parts = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        outputs = self.model({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        ends = np.cumsum([len(next(iter(part.values()))) for part in parts])[:-1]
        rows = {name: np.split(array, ends) for name, array in outputs.items()}
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(name, split[i]) for name, split in rows.items()])
            for i in range(len(requests))
        ]
