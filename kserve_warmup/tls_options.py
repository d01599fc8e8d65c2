"""How a server's certificate is checked, and what a client shows of itself: authority, name, client certificate.

Files are read anew whenever they have changed: Kubernetes mounts secrets as files, and renews them. What they hold is
kept nowhere else.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from kserve_warmup.errors import WarmupError

Stamp = tuple[int, int, int] | None
"""What changes with a file: inode, time and size."""


class Pem(NamedTuple):
    """What gRPC takes instead of a context: PEM of the authorities, the own key and the own certificate."""

    roots: bytes | None
    key: bytes | None
    chain: bytes | None


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Names of files, and of a server; nothing secret.

    ``cacert`` replaces the system's authorities. ``server_name`` is the name that the certificate has to have; None:
    that of the host header, else of the address. ``cert`` is what the client shows, and ``key`` the key to it; None:
    it is in the same file.
    """

    cacert: Path | None = None
    server_name: str | None = None
    cert: Path | None = None
    key: Path | None = None

    def check(self) -> None:
        """Find out what cannot be used before anything is sent.

        Raises:
            WarmupError: a file is missing, holds no PEM, or the key is another certificate's; or the name is none.
        """
        if self.key and not self.cert:
            raise WarmupError("key: it goes with the client certificate that cert names")
        if self.server_name is not None and not is_name(self.server_name):
            raise WarmupError(f"server_name: {self.server_name[:80]!r} is no name of a server, such as a.example.com")
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return what a TLS connection is made with, as the files are now.

        Raises:
            WarmupError: a file cannot be used.
        """
        stamps = (_stamp("cacert", self.cacert), _stamp("cert", self.cert), _stamp("key", self.key))
        return _context(self.cacert, self.cert, self.key, stamps, _of_the_system())

    def pem(self) -> Pem:
        """Return the same for gRPC.

        Raises:
            WarmupError: a file cannot be used.
        """
        trusted = self.context().get_ca_certs(binary_form=True)
        roots = "".join(map(ssl.DER_cert_to_PEM_cert, trusted)).encode()
        own = None if self.cert is None else (_read("key", self.key or self.cert), _read("cert", self.cert))
        return Pem(roots or None, *(own or (None, None)))

    def name(self, host: str, header: str | None) -> str:
        """Return the name that a server at ``host`` is asked for: behind an address there may be many."""
        return self.server_name or urlsplit(f"//{header or ''}").hostname or host.partition("%")[0]

    @property
    def of_nobody(self) -> TlsOptions:
        """Return the same for another server, which has another name, and to which the client shows nothing."""
        return TlsOptions(self.cacert)


SYSTEM = TlsOptions()

_CURRENT: ContextVar[TlsOptions] = ContextVar("tls", default=SYSTEM)


def current_tls() -> TlsOptions:
    """Return what addresses that are made here go by."""
    return _CURRENT.get()


@contextmanager
def with_tls(options: TlsOptions) -> Iterator[None]:
    """Let every address that is made in this block go by ``options``: a command talks to one server."""
    token = _CURRENT.set(options)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_name(text: str) -> bool:
    """Return whether a certificate can be for this name, or address."""
    try:
        host = urlsplit(f"//[{text}]" if ":" in text else f"//{text}").hostname
        text.encode("idna")
    except ValueError:
        return False
    return host == text.lower() and text.isprintable() and " " not in text


def _of_the_system() -> tuple[str | None, Stamp]:
    file = os.environ.get("SSL_CERT_FILE")
    try:
        return file, _stamp("", Path(file)) if file else None
    except WarmupError:
        return file, None  # OpenSSL goes without


def _stamp(what: str, file: Path | None) -> Stamp:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError as error:
        raise WarmupError(f"{what}: cannot read {file}: {error.strerror}") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _context(
    cacert: Path | None, cert: Path | None, key: Path | None, _stamps: tuple[Stamp, ...], _system: object
) -> ssl.SSLContext:
    """Return a context, which takes milliseconds to make, and is made once for each state of the files."""
    if cacert is not None and b"CERTIFICATE-----" not in _read("cacert", cacert):
        raise WarmupError(f"cacert: {cacert} holds no certificate in PEM")
    try:
        context = ssl.create_default_context(cafile=cacert)
    except OSError as error:
        raise WarmupError(f"cacert: {cacert} holds what is no certificate in PEM: {error}") from None
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority need not be the last one
    if cert is not None:
        _show(context, cert, key or cert)
    return context


def _show(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    if b"CERTIFICATE-----" not in _read("cert", cert):
        raise WarmupError(f"cert: {cert} holds no certificate in PEM")
    text = _read("key", key)
    if b"PRIVATE KEY-----" not in text:
        raise WarmupError(f"key: {key} holds no private key in PEM")
    if b"ENCRYPTED" in text:
        raise WarmupError(f"key: {key} has a passphrase: give a key without one, kept from others by its file mode")
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise WarmupError(f"key: {key} is the key of another certificate than {cert}") from None
        raise WarmupError(f"cert: {cert} and {key} are no certificate and key in PEM: {error}") from None


def _read(what: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise WarmupError(f"{what}: cannot read {file}: {error.strerror}") from None
