"""One HTTP/1.1 exchange as a state machine: bytes in, an answer out; no socket, no clock but for its time stamps.

h11 speaks the protocol. A server may answer with anything, so what is kept of an answer, what is read of it, and how
often it may say that the answer is still to come have limits. What a server sends at once is taken a few events at a
time: whoever waits for it can do something else in between, whatever the server sends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import h11

KEPT_BYTES = 1 << 20
"""Of a longer answer only the head is kept: nobody here reads tensors."""

MOST_BYTES = 1 << 28
"""256 MiB: an answer that is longer, headers included, is broken off."""

MOST_INTERIM = 32
"""Interim answers (1xx) before the answer itself; a server sends one or two, if any."""

CHUNK = 1 << 16
"""Bytes to read at a time."""

_EVENTS_A_TURN = 32

_MOST_PIECES = 1 << 14
"""Pieces of one answer whose times are kept; a stream has one a token."""
_TLS_ALERT = b"\x15\x03"
"""How a server of TLS begins its answer to a request in the clear, if it answers at all (RFC 8446, 5.1 and 6)."""


class ConnectionLostError(Exception):
    """The server is not there, broke the connection, or speaks no HTTP; the message says which, in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer.

    ``body`` is cut after :data:`KEPT_BYTES`. ``first_byte`` and ``end`` are when its body began and ended, on the clock
    of ``time.perf_counter()``. ``pieces``: how many bytes of the body were there at which time, as it came.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    first_byte: float
    end: float
    pieces: tuple[tuple[int, float], ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether the status is a success."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def refused(self) -> bool:
        """Return whether the status says that the request is at fault."""
        return 400 <= self.status < 500  # noqa: PLR2004

    @property
    def text(self) -> str:
        """Return the head of the body in one line, for an error."""
        return " ".join(self.body[:800].decode(errors="replace").split())[:200]


class Exchange:
    """A client's side of a connection to ``peer``; ``hungry`` says whether it goes on only with more bytes."""

    def __init__(self, peer: str) -> None:
        """Begin with nothing sent."""
        self._peer = peer
        self._h11 = h11.Connection(h11.CLIENT)
        self._begin()

    def _begin(self) -> None:
        self.hungry = False
        self._status, self._headers = 0, dict[str, str]()
        self._body = bytearray()
        self._pieces: list[tuple[int, float]] = []
        self._read = self._interim = 0

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> list[bytes]:
        """Return the request as parts to send.

        Raises:
            ConnectionLostError: HTTP has no such request.
        """
        head = {"host": self._peer, **headers}
        if body is not None:
            head["content-length"] = str(len(body))
        try:
            parts = [self._h11.send(h11.Request(method=method, target=target, headers=list(head.items())))]
            parts += [self._h11.send(h11.Data(body))] if body else []
            parts += [self._h11.send(h11.EndOfMessage())]
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise ConnectionLostError(f"{target!r} cannot be asked for over HTTP: {error}") from error
        return [part for part in parts if part]

    def feed(self, data: bytes) -> None:
        """Take what the server sent, nothing at the end of the connection.

        Raises:
            ConnectionLostError: that was too much, or the end came before any answer.
        """
        self.hungry = False
        self._read += len(data)
        if self._read == len(data) and data.startswith(_TLS_ALERT):
            raise ConnectionLostError(f"{self._peer} seems to speak TLS: write https://")
        if not data and not self._status:
            raise ConnectionLostError(f"{self._peer} closed the connection without an answer")
        if self._read > MOST_BYTES:
            raise ConnectionLostError(f"{self._peer} sends an answer of more than {MOST_BYTES >> 20} MiB")
        self._h11.receive_data(data)

    def advance(self) -> Answer | None:
        """Take a few events of what has arrived; return the answer once it is whole.

        Raises:
            ConnectionLostError: it is no HTTP, breaks off, or has no end.
        """
        try:
            for _ in range(_EVENTS_A_TURN):
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    self.hungry = True
                    return None
                if isinstance(event, h11.EndOfMessage):
                    end = time.perf_counter()
                    first = self._pieces[0][1] if self._pieces else end
                    return Answer(self._status, self._headers, bytes(self._body), first, end, tuple(self._pieces))
                self._take(event)
        except h11.RemoteProtocolError as error:
            raise ConnectionLostError(f"{self._peer} broke off its answer: {str(error)[:200]}") from error
        return None

    def _take(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > MOST_INTERIM:
                what = f"more than {MOST_INTERIM} interim answers (HTTP {event.status_code}) and no final one"
                raise ConnectionLostError(f"{self._peer} sends {what}")
        elif isinstance(event, h11.Response):
            self._status = event.status_code
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            self._body += event.data[: KEPT_BYTES - len(self._body)]
            if len(self._pieces) < _MOST_PIECES:
                self._pieces.append((len(self._body), time.perf_counter()))
        else:  # PAUSED: the server switched to another protocol; ConnectionClosed: it has nothing more to say
            raise ConnectionLostError(f"{self._peer} ended the exchange without an answer")

    def reuse(self) -> bool:
        """Make ready for the next request; False when the server has announced that it closes the connection."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._begin()
        return True
