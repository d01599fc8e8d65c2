"""Send samples to a gRPC server of the Open Inference Protocol, as the bytes that they are."""

from __future__ import annotations

import time
from typing import Any

import grpc

from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import DEFAULT_PATHS, Sample
from kserve_warmup.transports.endpoints import GRPC_READY, READY_PATHS, WARMUP_HEADER, grpc_name
from kserve_warmup.transports.exchange import MOST_BYTES

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", MOST_BYTES),
    # A proxy of the environment must not stand between a server and itself.
    ("grpc.enable_http_proxy", 0),
    # Without a pool of its own a new channel would find the last one's connection again.
    ("grpc.use_local_subchannel_pool", 1),
)


LOOK_TIMEOUT = 5.0
"""Seconds that the question whether a model is ready may take."""


def told(error: Any) -> str:
    """Return in one line why a call failed: the code, and what the server or gRPC says of it."""
    return f"gRPC {error.code().name}: {' '.join((error.details() or '').split())[:200]}"


class GrpcTransport:
    """Calls ``model`` on the server at ``address`` (``host:port``)."""

    name = "grpc"

    def __init__(self, address: str, model: str) -> None:
        """Open a channel; nothing is sent before the first sample."""
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self._infer = self._channel.unary_unary(DEFAULT_PATHS["grpc"])
        self._name = grpc_name(model)

    async def ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    async def model_ready(self) -> bool:
        """Return whether the server says that the model is ready; False when there is no server."""
        try:
            answer = await self._channel.unary_unary(READY_PATHS["grpc"])(self._name, timeout=LOOK_TIMEOUT)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer == GRPC_READY)

    async def send(self, sample: Sample) -> float:
        """Call ``ModelInfer`` with ``sample`` and return the seconds that it took."""
        message = sample.body + self._name
        started = time.perf_counter()
        try:
            await self._infer(message, metadata=((WARMUP_HEADER, "true"),))
        except grpc.aio.AioRpcError as error:
            raise RequestFailedError(told(error)) from error
        return time.perf_counter() - started

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
