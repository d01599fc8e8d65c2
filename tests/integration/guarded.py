"""What stands before a server and lets nobody through who does not say the right headers."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc

from kserve_warmup.transports.endpoints import GRPC_READY

TOKEN = "Bearer s3cret-0815"
HOST = "digits.example.com"


@contextmanager
def guarded(port):
    """Yield the URL of a proxy before ``port``: 404 without the right host, 401 without the right token."""

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.headers.get("host") != HOST:
                return self._answer(404, b"no such route")
            if self.headers.get("authorization") != TOKEN:
                return self._answer(401, b"who are you?")
            length = int(self.headers.get("content-length") or 0)
            behind = http.client.HTTPConnection("127.0.0.1", port)
            kept = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "content-length")}
            try:
                behind.request(self.command, self.path, self.rfile.read(length), kept)
                answer = behind.getresponse()
                return self._answer(answer.status, answer.read())
            except OSError:
                return self._answer(503, b"nobody there")
            finally:
                behind.close()

        do_POST = do_GET  # noqa: N815  (the base class's name)

        def _answer(self, status, body):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Guard) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def guarded_grpc():
    """Yield the address of a gRPC server that is ready, answers whatever it is asked, and wants a token."""

    def answer(_, context):
        if ("authorization", TOKEN) not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        return GRPC_READY

    class Handler(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)
