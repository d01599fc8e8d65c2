"""A BentoML service: bentoml serve bento:Service."""

import os

import bentoml
from neighbours import Neighbours


@bentoml.service(workers=int(os.environ["WORKERS"]))
class Service:
    def __init__(self):
        self.neighbours = Neighbours()

    @bentoml.api
    def classify(self, image: list[float]) -> dict:
        return self.neighbours.answer([image])
