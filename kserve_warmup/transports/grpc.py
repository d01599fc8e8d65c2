"""Send samples to a gRPC server of the Open Inference Protocol, as the bytes that they are."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import grpc

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.replay import NoAnswerError, RequestFailedError, RequestRefusedError, answered_within
from kserve_warmup.samples.sample import Sample
from kserve_warmup.tls_options import TlsOptions, current_tls
from kserve_warmup.transports.endpoints import WARMUP_HEADER, infer_message
from kserve_warmup.transports.exchange import MOST_BYTES
from kserve_warmup.transports.http import GRPC_SCHEME, GRPC_TLS_SCHEME
from kserve_warmup.transports.readiness import HOW_TO_GIVE_HEADERS
from kserve_warmup.transports.rest import Sent
from kserve_warmup.transports.tls_trouble import NO_FILES, how_to_mend, is_tls_trouble, why_broken

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

_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+")


def _options(address: str, headers: Mapping[str, str], tls: TlsOptions | None) -> tuple[tuple[str, Any], ...]:
    """Return a channel's options; HTTP's ``host`` is what gRPC calls the authority."""
    options: list[tuple[str, Any]] = [*OPTIONS]
    bare = address.removeprefix(GRPC_TLS_SCHEME)
    if "host" in headers:
        options.append(("grpc.default_authority", _host(headers["host"], tls)))
    elif "%" in bare and not (tls and tls.server_name):  # a zone means nothing on another machine
        options.append(("grpc.default_authority", re.sub(r"%[^\]]*", "", bare)))
    if tls and tls.server_name:  # the authority too, unless there is another
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return tuple(options)


def _host(header: str, tls: TlsOptions | None) -> str:
    """Return the authority; gRPC compares it with a name that was given instead only where it has no port."""
    return urlsplit(f"//{header}").hostname or header if tls and tls.server_name else header


def _target(address: str) -> str:
    """Return an address as gRPC takes it, a URI: the zone of an IPv6 address has its % escaped."""
    bare = address.removeprefix(GRPC_TLS_SCHEME)
    if not bare.startswith("[") or "%" not in bare:
        return bare
    host, _, port = bare[1:].partition("]:")
    numeric, _, zone = host.partition("%")
    return f"ipv6:%5B{numeric}%25{zone.removeprefix('25') or zone}%5D:{port}"


def metadata_of(headers: Mapping[str, str]) -> tuple[tuple[str, str | bytes], ...]:
    """Return headers as gRPC's metadata, without the host.

    Raises:
        WarmupError: one has a name that gRPC cannot send.
    """
    if bad := [name for name in headers if not _KEY.fullmatch(name)]:
        raise WarmupError(f"the header {bad[0]} cannot go over gRPC: letters, digits, '-', '_' and '.' can, no grpc-…")
    pairs = [(name, value) for name, value in headers.items() if name != "host"]
    return tuple((name, value.encode() if name.endswith("-bin") else value) for name, value in pairs)


class GrpcClient:
    """The only gRPC client: sends bytes to the methods of the server at ``address``, ``host:port``.

    ``grpcs://`` before it asks for TLS. ``headers`` go with each request as metadata.

    Raises:
        WarmupError: one has a name that gRPC cannot send.
    """

    def __init__(self, address: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.address = address.removeprefix(GRPC_SCHEME)
        self._tls = current_tls() if address.startswith(GRPC_TLS_SCHEME) else None
        self._options = _options(self.address, headers, self._tls)
        self.carry(headers)

    def _open(self, kind: Any) -> Any:
        """Return a new channel of ``kind``, ``grpc`` or ``grpc.aio``; files of TLS are read for each.

        Raises:
            RequestFailedError: one of them cannot be used any more.
        """
        target = _target(self.address)
        if self._tls is None:
            return kind.insecure_channel(target, options=self._options)
        try:
            roots, key, chain = self._tls.pem()
        except WarmupError as error:
            raise RequestFailedError(f"{NO_FILES} {self.address}: {error}") from error
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        return kind.secure_channel(target, credentials, options=self._options)

    def carry(self, headers: Mapping[str, str]) -> None:
        """Give each further request these headers; the host stays the connection's."""
        self._metadata = metadata_of(headers)

    @cached_property
    def _channel(self) -> Any:
        return self._open(grpc.aio)

    async def ask(self, method: str, message: bytes, seconds: float | None = None) -> bytes:
        """Return the answer.

        Raises:
            NoAnswerError: there is none within ``seconds``.
            RequestFailedError: it is an error.
        """
        try:
            call = self._channel.unary_unary(method)
            answer: bytes = await call(message, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            if seconds is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NoAnswerError(f"no answer within {seconds:g} s") from error
            raise self._failure(error) from error
        return answer

    def ask_now(self, method: str, message: bytes, seconds: float) -> bytes:
        """Return the answer to a request on a connection of its own, without an event loop; raises as :meth:`ask`."""
        with self._open(grpc) as channel:
            try:
                call = channel.unary_unary(method)
                answer: bytes = call(message, timeout=seconds, metadata=self._metadata, wait_for_ready=False)
            except grpc.RpcError as error:
                raise self._failure(error) from error
            return answer

    def _failure(self, error: Any) -> RequestFailedError:
        failed = _failure(error)
        if self._tls is None or "Socket closed" not in str(failed):
            return failed
        return type(failed)(f"{failed}{why_broken(shows=self._tls.cert is not None)}")

    async def stream(self, method: str, message: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the answers to one message, behind which this side says no more; raises as :meth:`ask`."""
        call = self._channel.stream_stream(method)(iter((message,)), metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as error:
            raise self._failure(error) from error
        finally:
            call.cancel()  # nothing, where it has ended

    def stream_now(self, method: str, message: bytes, seconds: float) -> Iterator[bytes]:
        """Yield what :meth:`stream` does, on a connection of its own and without an event loop."""
        with self._open(grpc) as channel:
            try:
                call = channel.stream_stream(method)
                yield from call(iter((message,)), timeout=seconds, metadata=self._metadata, wait_for_ready=False)
            except grpc.RpcError as error:
                raise self._failure(error) from error

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        channel = self.__dict__.get("_channel")  # none can be made where a file of TLS cannot be read
        return channel is not None and channel.get_state() is grpc.ChannelConnectivity.READY

    async def connected(self) -> None:
        """Wait until there is a connection."""
        await self._channel.channel_ready()

    async def stays_open(self, seconds: float) -> bool:
        """Wait; return False as soon as there is no connection any more."""
        try:
            await asyncio.wait_for(self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return True
        return False

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if "_channel" in self.__dict__:
            await self._channel.close()


class GrpcTransport:
    """Calls ``model`` on the server at ``address`` (``host:port``); each request carries ``headers`` as metadata."""

    name = "grpc"

    def __init__(
        self, address: str, model: str, timeout: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Take where to send; a request counts as never answered after ``timeout`` seconds."""
        self._model, self._timeout = model, timeout
        self._plain = GrpcClient(address, headers)
        self._marked = GrpcClient(address, {**headers, WARMUP_HEADER: "true"})

    async def ready(self) -> None:
        """Wait until there is a connection."""
        await self._marked.connected()

    async def send(self, sample: Sample) -> float:
        """Call ``ModelInfer`` with ``sample``, marked as a warm-up request, and return the seconds that it took."""
        message = self._message(sample)
        started = time.perf_counter()
        await answered_within(self._timeout, self._marked.ask(MODEL_INFER, message))
        return time.perf_counter() - started

    def prepared(self, sample: Sample) -> Callable[[], Sent]:
        """Return what sends ``sample`` as a client does, unmarked, on a new connection and without an event loop."""
        message = self._message(sample)

        def send() -> Sent:
            started = time.perf_counter()
            answer = self._plain.ask_now(MODEL_INFER, message, self._timeout)
            return Sent(answer, time.perf_counter() - started)

        return send

    def _message(self, sample: Sample) -> bytes:
        try:
            return infer_message(sample.body, self._model)
        except SampleError as error:
            raise RequestFailedError(str(error)) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._marked.close()


def _failure(error: Any) -> RequestFailedError:
    code = error.code().name
    details = " ".join((error.details() or "").split())
    if is_tls_trouble(details):
        return RequestFailedError(f"gRPC {code}: {how_to_mend(details[:600])}")
    said = f"gRPC {code}: {details[:200]}"
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return RequestRefusedError(f"{said}; a header is missing, {HOW_TO_GIVE_HEADERS}")
    return (RequestRefusedError if code in REFUSED_CODES else RequestFailedError)(said)
