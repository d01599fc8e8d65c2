"""What TLS said when it failed, and how to mend it; OpenSSL's words, and those of gRPC's BoringSSL."""

from __future__ import annotations

import re

_HOW = (
    (
        r"mismatch, certificate|not in peer certificate|ostname [Vv]erification",
        "name the one it has with --server-name",
    ),
    (r"has expired|not yet valid", ""),
    (r"CERTIFICATE_VERIFY_FAILED", "name the authority that signed it with --cacert"),
    (r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE", "it seems to speak no TLS: write http:// or grpc://"),
    (r"CERTIFICATE_REQUIRED", "it wants a client's certificate: give one with --cert and --key"),
    (r"ALERT_UNKNOWN_CA|ALERT_BAD_CERTIFICATE|ALERT_CERTIFICATE_", "it does not take the certificate of --cert"),
    (r"HANDSHAKE_FAILURE", "it may want a client's certificate: give one with --cert and --key"),
)

NO_FILES = "no TLS connection can begin to"
"""Before an address, and what is wrong with a file that was good when the command began."""

_SURE = re.compile("|".join((*(pattern for pattern, _ in _HOW), "SSL_ERROR_SSL", "Ssl handshake failed", NO_FILES)))


def is_tls_trouble(said: str) -> bool:
    """Return whether an error's words are TLS's."""
    return _SURE.search(said) is not None


def how_to_mend(said: str) -> str:
    """Return TLS's words with what to do about it."""
    found = next((how for pattern, how in _HOW if re.search(pattern, said)), "")
    words = re.sub(r" ?\(_ssl\.c:\d+\)|\.?: OK$", "", said)
    return f"{words}; {found}" if found else words


def why_broken(*, shows: bool) -> str:
    """Return what it can mean that a connection ends as soon as it stands: TLS 1.3 looks at clients only then."""
    if shows:
        return "; if that is so from the first request on, it may not take the certificate of --cert"
    return "; if that is so from the first request on, it may want a client's certificate: --cert and --key"
