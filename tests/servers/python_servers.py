"""Servers of Python models; the model of all is ``programs/neighbours.py``, which compiles with its first request."""

import json
import re
from dataclasses import replace

import numpy as np
from real_server import PROGRAMS, RealServer

from kserve_warmup.protocols.bodies import Tensor, encode, request

MODEL = "neighbours"


def image(number):
    return np.random.default_rng(number).random((1, 64))


def tensors(protocol):
    """Return what makes the request number i of one of the Open Inference Protocol's encodings."""

    def made(number):
        body, headers = encode(protocol, [Tensor("image", "FP64", image(number))])
        return request(protocol, body, headers=headers)

    return made


def own_json(number):
    """Return a request of an API that is nobody else's."""
    body = json.dumps({"image": image(number)[0].tolist()}).encode()
    return request("v1", body, headers={"content-type": "application/json"})


def raw(number):
    """Return a request that is no JSON."""
    return request("raw", image(number).tobytes(), headers={"content-type": "application/octet-stream"})


def mlserver(workers):
    """Return MLServer; 0 workers: the model runs in the server's own process."""

    def settings(place):
        found = {"implementation": "mlserver_model.Runtime", "name": MODEL}
        (place.folder / "model-settings.json").write_text(json.dumps(found))

    def variables(place):
        ports = {"HTTP_PORT": place.http, "GRPC_PORT": place.grpc, "METRICS_PORT": place.metrics}
        given = {"HOST": "127.0.0.1", "PARALLEL_WORKERS": workers, **ports}
        return {f"MLSERVER_{name}": str(value) for name, value in given.items()}

    return RealServer(
        name=f"MLServer, {workers} workers" if workers else "MLServer",
        environment="mlserver",
        workers=max(1, workers),
        command=lambda place: [place.bin / "mlserver", "start", place.folder],
        variables=variables,
        prepare=settings,
        requests={protocol: tensors(protocol) for protocol in ("v2", "grpc")},
        ready=f"/v2/models/{MODEL}/ready",
    )


def litserve(workers):
    """Return LitServe: one process speaks HTTP, ``workers`` others have the model."""
    return RealServer(
        name=f"LitServe, {workers} workers" if workers > 1 else "LitServe",
        environment="litserve",
        workers=workers,
        command=lambda place: [place.bin / "python", PROGRAMS / "litserve_app.py", place.http, workers],
        requests={"JSON": own_json},
        ready="/health",
        path="/predict",
    )


def bentoml(workers):
    """Return BentoML: each of its ``workers`` speaks HTTP and has the model."""
    environment = {"WORKERS": str(workers), "BENTOML_DO_NOT_TRACK": "1"}
    return RealServer(
        name=f"BentoML, {workers} workers" if workers > 1 else "BentoML",
        environment="bentoml",
        workers=workers,
        command=lambda place: [
            place.bin / "bentoml",
            "serve",
            "bento:Service",
            f"--working-dir={PROGRAMS}",
            "--host=127.0.0.1",
            f"--port={place.http}",
        ],
        variables=lambda place: {**environment, "BENTOML_HOME": str(place.folder)},
        requests={"JSON": own_json},
        ready="/readyz",
        path="/classify",
    )


def bentoml_bytes(workers):
    """Return BentoML with an endpoint that takes bytes."""
    made = bentoml(workers)
    return replace(made, name=f"{made.name}, bytes", requests={"bytes": raw}, path="/classify_bytes")


_ANSWER = re.compile(rb'\{\\*"nearest.*?\}')


def answer(body):
    """Return what ``programs/neighbours.py`` said, from whatever a server made of it."""
    return json.loads(_ANSWER.search(body)[0].replace(b"\\", b""))
