"""A BentoML service: bentoml serve bento:Service."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType
from neighbours import Neighbours


@bentoml.service(workers=int(os.environ["WORKERS"]))
class Service:
    def __init__(self):
        self.neighbours = Neighbours()

    @bentoml.api
    def classify(self, image: list[float]) -> dict:
        return self.neighbours.answer([image])

    @bentoml.api
    def classify_bytes(self, image: Annotated[Path, ContentType("application/octet-stream")], /) -> dict:
        return self.neighbours.answer([np.frombuffer(image.read_bytes())])
