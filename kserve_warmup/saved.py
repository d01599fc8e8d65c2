"""Results that are saved as JSON: plain data, of which tables and pages are views."""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar

import orjson
from typing_extensions import Self

from kserve_warmup.errors import WarmupError

SCHEMA = 1

Data = TypeVar("Data")


class Saved:
    """A result: a data class, of which ``WHAT`` is the name for people."""

    __slots__ = ()
    WHAT: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data, derived figures included; ``schema`` tells its version."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Return the result as a JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what :meth:`to_dict` gave; derived figures in it are passed over.

        Raises:
            WarmupError: It is something else.
        """
        return checked(cls, data, cls.WHAT)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote; raises as :meth:`from_dict` does."""
        return cls.from_dict(parsed(text))


def parsed(text: str | bytes) -> Any:
    """Return what a JSON document holds, which has neither NaN nor infinities.

    Raises:
        WarmupError: It is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WarmupError(f"not JSON: {error}") from None


def checked(kind: type[Data], data: Any, what: str) -> Data:
    """Return the data class that saved data stands for; keys that it does not have are passed over.

    Raises:
        WarmupError: It does not fit, or another version wrote it.
    """
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(data, dict) or "schema" not in data:
        raise WarmupError(f"not {what}")
    if data["schema"] != SCHEMA:
        raise WarmupError(
            f"its schema is {data['schema']!r}, this version reads {SCHEMA}: use the version that wrote it"
        )
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WarmupError(f"not {what}: {where}: {first['msg']}") from None
