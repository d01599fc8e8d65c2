"""What stands before a server and passes bytes on, behind TLS or on another address."""

import asyncio
import contextlib
import threading


class PassingOn:
    """Listens on ``host``, with ``tls`` if a context is given, and passes on to a port of 127.0.0.1, in a thread."""

    def __init__(self, port, *, tls=None, host="127.0.0.1"):
        self._behind, self._tls, self._host = port, tls, host
        if tls:
            tls.set_alpn_protocols(["h2", "http/1.1"])  # gRPC insists on it

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._client, self._host, 0, ssl=self._tls))
        self.port = self._server.sockets[0].getsockname()[1]
        self._loop.set_exception_handler(lambda *_: None)  # handshakes that fail are the clients' to tell
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()

    async def _client(self, reader, writer):
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))


async def _copy(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
