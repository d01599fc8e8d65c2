"""Measuring from outside, against real sockets."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.latency import PACE_SECONDS, Latencies, Target, latency_ms, measure, send, wait_ready
from kserve_warmup.protocols import bodies
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import Sample, Signature


class Web(ThreadingHTTPServer):
    """Answers every request and remembers it; ``not_ready`` looks at the ready endpoint are answered 503 first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.peers: list[object] = []
        self.looks: list[float] = []
        self.not_ready = 0
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.looks.append(time.monotonic())
        self.server.paths.append(self.path)
        self._answer(503 if len(self.server.looks) <= self.server.not_ready else 200)

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.server.peers.append(self.client_address)
        self._answer(self.server.status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "7")
        self.end_headers()
        self.wfile.write(b"because")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def a_sample(value: float = 1.0, protocol: str = "v2") -> Sample:
    body, headers = bodies.encode(protocol, [Tensor("x", "FP32", np.array([[value]], np.float32))])
    return bodies.request(protocol, body, headers=headers)


def test_the_first_latency_is_divided_by_the_median_of_the_later_half() -> None:
    latencies = Latencies((50.0, 9.0, 4.0, 2.0, 3.0))

    assert latencies.first_ms == 50
    assert latencies.steady_ms == 3
    assert latencies.ratio == pytest.approx(50 / 3)


def test_requests_are_sent_in_order_and_begin_anew_each_on_a_connection_of_its_own(web: Web) -> None:
    one, two = a_sample(1), a_sample(2)

    latencies = measure([one, two], Target(web.url, "digits"), 3, pace=0)

    assert web.bodies == [one.body, two.body, one.body]
    assert set(web.paths) == {"/v2/models/digits/infer"}
    assert len(set(web.peers)) == 3
    assert len(latencies.latencies_ms) == 3


def test_an_answer_that_is_an_error_is_no_measurement(web: Web) -> None:
    web.status = 500

    with pytest.raises(WarmupFailedError, match=r"digits at http://.* failed: HTTP 500: because"):
        measure([a_sample()], Target(web.url, "digits"), 1, pace=0)


def test_a_server_that_is_gone_is_one_clear_line() -> None:
    with pytest.raises(WarmupFailedError, match=r"digits at http://127.0.0.1:9 failed: .*refused"):
        send(a_sample(), Target("http://127.0.0.1:9", "digits"))


def test_measuring_with_nothing_is_refused() -> None:
    with pytest.raises(WarmupError, match="at least one sample"):
        measure([], Target("http://127.0.0.1:9", "digits"), 1)


def test_an_address_without_a_scheme_is_refused_for_rest() -> None:
    with pytest.raises(WarmupError, match="'localhost:8080' is not an HTTP address"):
        measure([a_sample()], Target("localhost:8080", "digits"), 1, pace=0)


@pytest.mark.parametrize(
    ("protocol", "path"), [("v1", "/v1/models/digits"), ("v2", "/v2/models/digits/ready"), ("v2-binary", None)]
)
def test_the_models_own_ready_endpoint_is_asked(web: Web, protocol: str, path: str | None) -> None:
    wait_ready(Target(web.url, "digits"), protocol)

    assert web.paths == [path or "/v2/models/digits/ready"]


def test_readiness_is_asked_until_it_is_there_and_not_more_often_than_the_pace(web: Web) -> None:
    web.not_ready = 2

    wait_ready(Target(web.url, "digits"))

    assert len(web.looks) == 3
    assert min(np.diff(web.looks)) > PACE_SECONDS * 0.95


def test_a_model_that_never_gets_ready_ends_the_wait(web: Web) -> None:
    web.not_ready = 100

    with pytest.raises(
        WarmupFailedError, match=r"digits at .* was not ready after 0.5 s: digits is not ready: HTTP 503 "
    ):
        wait_ready(Target(web.url, "digits"), timeout=0.5)


def test_a_process_that_ended_ends_the_wait_at_once() -> None:
    def dead() -> None:
        msg = "ended with code 1"
        raise WarmupFailedError(msg)

    with pytest.raises(WarmupFailedError, match="ended with code 1"):
        wait_ready(Target("http://127.0.0.1:9", "digits"), alive=dead)


class Inference(grpc.GenericRpcHandler):
    """Keeps the requests it gets; says ready from the second look on."""

    def __init__(self) -> None:
        self.requests: list[messages.ModelInferRequest] = []
        self.looks: list[str] = []

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            self._ready if call.method.endswith("ModelReady") else self._infer,
        )

    def _ready(self, body: bytes, _: object) -> bytes:
        self.looks.append(messages.ModelReadyRequest.FromString(body).name)
        return bytes(messages.ModelReadyResponse(ready=len(self.looks) > 1).SerializeToString())

    def _infer(self, body: bytes, _: object) -> bytes:
        self.requests.append(messages.ModelInferRequest.FromString(body))
        return b"answer"


@pytest.fixture
def inference() -> Iterator[tuple[Inference, str]]:
    handler = Inference()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("model", ["digits", "m" * 300])
def test_grpc_requests_name_the_model_and_change_nothing_else(inference: tuple[Inference, str], model: str) -> None:
    handler, address = inference
    sample = a_sample(7, "grpc")

    measure([sample], Target(f"grpc://{address}", model), 1, pace=0)

    wanted = messages.ModelInferRequest.FromString(sample.body)
    wanted.model_name = model
    assert handler.requests == [wanted]


def test_grpc_readiness_is_asked_until_it_is_there(inference: tuple[Inference, str]) -> None:
    handler, address = inference

    wait_ready(Target(address, "digits"), "grpc")

    assert handler.looks == ["digits", "digits"]


def test_a_grpc_failure_is_one_clear_line() -> None:
    with pytest.raises(WarmupFailedError, match=r"digits at 127.0.0.1:9 failed: gRPC UNAVAILABLE"):
        send(a_sample(1, "grpc"), Target("127.0.0.1:9", "digits"))


def test_a_target_s_headers_are_shown_nowhere():
    assert "s3cret" not in repr(Target("http://localhost:1", "m", {"authorization": "s3cret"}))


def test_a_header_that_grpc_cannot_carry_is_told_in_one_line():
    sample = Sample("grpc", b"", Signature(()), 1, MODEL_INFER)
    for name in ("x!y", "grpc-timeout"):
        with pytest.raises(WarmupError, match=f"the header {name} cannot go over gRPC"):
            latency_ms(sample, Target("127.0.0.1:1", "m", {name: "1"}), 0)
