"""Send samples to a gRPC server of the Open Inference Protocol, as the bytes that they are."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import grpc

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.replay import RequestFailedError, RequestRefusedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import GRPC_READY, READY_PATHS, WARMUP_HEADER, grpc_name, infer_message
from kserve_warmup.transports.exchange import MOST_BYTES
from kserve_warmup.transports.patience import answered_within
from kserve_warmup.transports.rest import HOW_TO_GIVE_HEADERS

REFUSED_CODES = frozenset(
    {"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED"}
)
"""gRPC's kin of HTTP's 4xx: the request is at fault."""

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


_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+")


def channel_options(headers: Mapping[str, str]) -> tuple[tuple[str, Any], ...]:
    """Return a channel's options; HTTP's ``host`` is what gRPC calls the authority."""
    return (*OPTIONS, ("grpc.default_authority", headers["host"])) if "host" in headers else OPTIONS


def metadata_of(headers: Mapping[str, str]) -> tuple[tuple[str, str | bytes], ...]:
    """Return headers as gRPC's metadata, without the host.

    Raises:
        WarmupError: one has a name that gRPC cannot send.
    """
    if bad := [name for name in headers if not _KEY.fullmatch(name)]:
        raise WarmupError(f"the header {bad[0]} cannot go over gRPC: letters, digits, '-', '_' and '.' can, no grpc-…")
    pairs = [(name, value) for name, value in headers.items() if name != "host"]
    return tuple((name, value.encode() if name.endswith("-bin") else value) for name, value in pairs)


def told(error: Any) -> str:
    """Return in one line why a call failed: the code, and what the server or gRPC says of it."""
    return f"gRPC {error.code().name}: {' '.join((error.details() or '').split())[:200]}"


class GrpcTransport:
    """Calls ``model`` on the server at ``address`` (``host:port``)."""

    name = "grpc"

    def __init__(
        self, address: str, model: str, timeout: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Open a channel; nothing is sent before the first sample.

        Args:
            address: the server's, ``host:port``.
            model: its name.
            timeout: seconds after which a request counts as never answered.
            headers: what each request carries as metadata.
        """
        self._timeout = timeout
        self._metadata = (*metadata_of(headers), (WARMUP_HEADER, "true"))
        self._channel = grpc.aio.insecure_channel(address, options=channel_options(headers))
        self._infer = self._channel.unary_unary(MODEL_INFER)
        self._model = model

    async def ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    async def model_ready(self) -> bool:
        """Return whether the server says that the model is ready; False when there is no server."""
        try:
            asking = self._channel.unary_unary(READY_PATHS["grpc"])
            answer = await asking(grpc_name(self._model), timeout=LOOK_TIMEOUT, metadata=self._metadata)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer == GRPC_READY)

    async def send(self, sample: Sample) -> float:
        """Call ``ModelInfer`` with ``sample`` and return the seconds that it took."""
        try:
            message = infer_message(sample.body, self._model)
        except SampleError as error:
            raise RequestFailedError(str(error)) from error
        started = time.perf_counter()
        try:
            await answered_within(self._timeout, self._call(message))
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        return time.perf_counter() - started

    async def _call(self, message: bytes) -> bytes:
        return await self._infer(message, metadata=self._metadata)  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


def _failure(error: grpc.aio.AioRpcError) -> RequestFailedError:
    code = error.code().name
    said = told(error)
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return RequestRefusedError(f"{said}; a header is missing, {HOW_TO_GIVE_HEADERS}")
    return (RequestRefusedError if code in REFUSED_CODES else RequestFailedError)(said)
