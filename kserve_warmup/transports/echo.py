"""A throwaway server in this process, which says yes to everything: a client warms itself on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kserve_warmup.samples.sample import Protocol


@contextlib.contextmanager
def echo_server(protocol: Protocol) -> Iterator[str]:
    """Yield where it listens, as a target of ``protocol`` has it."""
    if protocol == "grpc":
        import grpc

        class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
            def service(self, called: Any) -> object:
                if "Stream" in called.method:
                    return grpc.stream_stream_rpc_method_handler(lambda requests, _: (b"" for _ in requests))
                return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

        server = grpc.server(ThreadPoolExecutor(1), handlers=[Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None)
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_all, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _answer_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was shut
        while True:
            with listener.accept()[0] as stream:
                stream.recv(1 << 16)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
