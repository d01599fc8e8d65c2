"""Send samples to a gRPC server of the Open Inference Protocol."""

from __future__ import annotations

import time

import grpc
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.in_process import WARMUP_HEADER


class GrpcTransport:
    """Calls ``model`` on the server at ``address`` (``host:port``)."""

    name = "grpc"

    def __init__(self, address: str, model: str) -> None:
        """Open a channel; nothing is sent before the first sample."""
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        # A proxy of the environment must not stand between a server and itself.
        options.append(("grpc.enable_http_proxy", 0))
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._model = model

    async def ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    async def send(self, sample: Sample) -> float:
        """Call ``ModelInfer`` with ``sample`` and return the seconds that it took."""
        message = ModelInferRequest.FromString(sample.body)
        message.model_name = self._model
        started = time.perf_counter()
        try:
            await self._stub.ModelInfer(message, metadata=((WARMUP_HEADER, "true"),))
        except grpc.aio.AioRpcError as error:
            details = " ".join((error.details() or "").split())[:200]
            raise RequestFailedError(f"gRPC {error.code().name}: {details}") from error
        return time.perf_counter() - started

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
