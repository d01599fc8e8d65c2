"""Headers that warm-up requests carry because a server asks for them: keys, tokens, a host. They are never stored.

A value may be a file's content, read anew for each warm-up: Kubernetes mounts secrets as files, and renews them. Its
service accounts' tokens stand there bare, so that a scheme such as ``Bearer`` may be put before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kserve_warmup.errors import WarmupError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110, 5.1)."""

_NOT_OURS = frozenset({"content-length", "transfer-encoding", "connection", "x-kserve-warmup"})
"""What the client itself sets."""

_MOST_BYTES = 1 << 16

_WITH_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9-]*) +)?@(\S.*)")
"""Of an authorization header: a file, and perhaps what stands before its content. No credentials begin with ``@``."""

_AUTHORIZATION = frozenset({"authorization", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class FileValue:
    """A header's value in a file; with a ``scheme`` that stands before it, unless the file has it too."""

    file: str
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Names in lower case, with either a value or the file that holds it; its text form shows no value."""

    given: tuple[tuple[str, str | FileValue], ...] = ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.given)

    def __repr__(self) -> str:
        """Return the names alone."""
        return f"RequestHeaders({', '.join(name for name, _ in self.given)})"

    def __iter__(self) -> Iterator[str]:
        """Iterate the names."""
        return iter(name for name, _ in self.given)

    def read(self) -> dict[str, str]:
        """Return names and values, those in files read now.

        Raises:
            WarmupError: a file cannot be read, or holds what no header can.
        """
        return {name: value if isinstance(value, str) else _read(name, value) for name, value in self.given}


NO_HEADERS = RequestHeaders()


def parse_headers(given: Any) -> RequestHeaders:
    """Return the headers in a mapping, or in a JSON object's text.

    Raises:
        ValueError: they are none; the message shows no value.
    """
    if isinstance(given, RequestHeaders):
        return given
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            given = None
    if not isinstance(given, Mapping):
        raise ValueError(  # noqa: TRY004  (pydantic takes it for a refusal)
            'a JSON object of header names and values, such as {"x-api-key": {"file": "/run/key"}}'
        )
    return RequestHeaders(tuple((_name(name), _value(name, value)) for name, value in given.items()))


def parse_header_options(options: list[str] | tuple[str, ...]) -> RequestHeaders:
    """Return the headers of ``name: value`` options; a value ``@/path`` is a file's content.

    An authorization header may have a scheme before that: ``authorization: Bearer @/run/token``.

    Raises:
        WarmupError: one of them is no header; the message shows no value.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, colon, value = option.partition(":")
        if not colon:
            raise WarmupError("--header takes 'name: value', or 'name: @/path/of/a/file': there is no colon")
        name, value = name.strip(), value.strip()
        found[name] = {"file": value[1:]} if value.startswith("@") else value
        if name.lower() in _AUTHORIZATION and (parts := _WITH_SCHEME.fullmatch(value)):
            found[name] = {"file": parts[2], "scheme": parts[1] or ""}
    try:
        return parse_headers(found)
    except ValueError as error:
        raise WarmupError(f"--header: {error}") from None


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{str(name)[:80]!r} is not a header's name")
    if name.lower() in _NOT_OURS:
        raise ValueError(f"the header {name.lower()} is set by the client itself")
    return name.lower()


def _value(name: Any, value: Any) -> str | FileValue:
    if isinstance(value, Mapping) and set(value) in ({"file"}, {"file", "scheme"}):
        file, scheme = value["file"], value.get("scheme", "")
        if isinstance(file, str) and file and isinstance(scheme, str) and (not scheme or _NAME.fullmatch(scheme)):
            return FileValue(file, scheme)
    if isinstance(value, str):
        return _checked(str(name), value)
    how = 'neither a text for value nor {"file": "/path"}, perhaps with "scheme": "Bearer"'
    raise ValueError(f"the header {name} has {how}")


def _checked(name: str, value: str) -> str:
    if not value.isascii() or any(ord(c) < 32 or ord(c) == 127 for c in value):  # noqa: PLR2004  (control characters)
        raise ValueError(f"the header {name} has a value that no header can have: plain ASCII in one line")
    return value


def _read(name: str, value: FileValue) -> str:
    try:
        with Path(value.file).open("rb") as stream:
            content = stream.read(_MOST_BYTES)
        text = _checked(name, content.decode("utf-8").strip())
    except OSError as error:
        raise WarmupError(f"the header {name}: cannot read {value.file}: {error.strerror}") from None
    except ValueError as error:
        raise WarmupError(f"{value.file}: {error}") from None
    if not value.scheme or text.lower().startswith(f"{value.scheme.lower()} "):
        return text
    return f"{value.scheme} {text}"
