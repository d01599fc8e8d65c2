"""Hold a Python model of Triton's unready until the server's own HTTP and gRPC front ends are warm too.

``model_warmup`` reaches the model and no front end. From 26.03 on Triton asks a Python model ``is_ready()`` whenever
someone asks ``/v2/models/MODEL/ready`` or ``/v2/health/ready``. Copy this file beside ``model.py``, and:

    from warm_front_ends import WarmFrontEnds

    class TritonPythonModel(WarmFrontEnds):
        def initialize(self, args):
            ...
            self.warm_front_ends(args)  # last: it returns at once

It then sends the requests of the model's own ``model_warmup`` blocks to the server that it runs in, over HTTP, and over
gRPC where tritonclient is installed, and says that it is ready when they are answered, whatever the answer; after
``front_end_seconds`` since it was first asked it does so in any case. Before 26.03 nobody asks, and it only sends.

Written against triton-inference-server/python_backend f9088ff (2026-07; src/python_be.cc, RunUserModelReadinessCheck).
Tested on tritonserver 2.51 (24.10), which sends but never asks: not run on 26.03 or later.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any


class WarmFrontEnds:
    """A mixin for ``TritonPythonModel``."""

    front_end_calls = 8
    front_end_seconds = 60.0
    _asked: float | None = None
    _sender: threading.Thread | None = None

    def warm_front_ends(self, args: dict[str, str]) -> None:
        """Begin to send, beside the load; ``args`` are those of ``initialize``."""
        self._sender = threading.Thread(target=self._send, args=(args,), daemon=True)
        self._sender.start()

    def is_ready(self) -> bool:
        """Return whether all was sent, quickly: Triton waits for it with each readiness check."""
        self._asked = self._asked or time.monotonic()
        late = time.monotonic() - self._asked > self.front_end_seconds
        return late or self._sender is None or not self._sender.is_alive()

    def _send(self, args: dict[str, str]) -> None:
        while not self._loaded(args["model_name"]):
            time.sleep(0.2)
        requests = [_request(block, args) for block in json.loads(args["model_config"]).get("model_warmup", [])]
        for send in (self._send_http, self._send_grpc):
            with contextlib.suppress(Exception):  # no gRPC there, no tritonclient here: there is nothing to warm
                send(args["model_name"], requests)

    def _send_http(self, model: str, requests: list[tuple[list[dict[str, Any]], list[bytes]]]) -> None:
        for inputs, raw in requests:
            sized = [
                {**given, "parameters": {"binary_data_size": len(data)}}
                for given, data in zip(inputs, raw, strict=True)
            ]
            head = json.dumps({"inputs": sized}).encode()
            path = f"/v2/models/{urllib.parse.quote(model, safe='')}/infer"
            for _ in range(self.front_end_calls):  # each on a connection of its own, as a new client's are
                self._post(path, b"".join([head, *raw]), {"Inference-Header-Content-Length": str(len(head))})

    def _send_grpc(self, model: str, requests: list[tuple[list[dict[str, Any]], list[bytes]]]) -> None:
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        with grpc.insecure_channel(f"127.0.0.1:{self._port('grpc', 8001)}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for inputs, raw in requests:
                asked = service_pb2.ModelInferRequest(model_name=model, inputs=inputs, raw_input_contents=raw)
                for _ in range(self.front_end_calls):
                    with contextlib.suppress(grpc.RpcError):  # its answer came through the front end as well
                        stub.ModelInfer(asked, timeout=self.front_end_seconds)

    def _loaded(self, model: str) -> bool:
        """Return whether the server lists this model as ready: no front end passes requests on to it before."""
        try:
            index = json.loads(self._post("/v2/repository/index", b"{}", {}))
        except (OSError, http.client.HTTPException, ValueError):  # it listens only when all models are loaded
            return False
        return any(m["name"] == model and m.get("state") == "READY" for m in index)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port("http", 8000), timeout=self.front_end_seconds)
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def _port(self, kind: str, usual: int) -> int:
        """Return the port that the server, which started this process, was told to listen on."""
        words = Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("=", "\0").split("\0")
        option = f"--{kind}-port"
        return int(words[words.index(option) + 1]) if option in words else usual


def _request(block: dict[str, Any], args: dict[str, str]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return a block's request as the protocol's inputs and their bytes; a sequence's controls are the batcher's."""
    config = json.loads(args["model_config"])
    inputs, raw = [], []
    rows = [int(block["batch_size"])] if int(config.get("max_batch_size", 0)) else []
    own = {declared["name"] for declared in config["input"]}
    for name in own & block["inputs"].keys():
        given = block["inputs"][name]
        data = Path(args["model_repository"], "warmup", given["input_data_file"]).read_bytes()
        raw.append(data * (rows[0] if rows else 1))
        kind = given["data_type"].removeprefix("TYPE_").replace("STRING", "BYTES")
        inputs.append({"name": name, "datatype": kind, "shape": [*rows, *(int(d) for d in given["dims"])]})
    return inputs, raw
