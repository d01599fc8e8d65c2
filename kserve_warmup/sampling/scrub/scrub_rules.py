"""Files of scrub rules: read with bounds, and refused in one line."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.manifest import first_problem

LARGEST = 256 * 1024
"""Bytes of a file of rules."""

NODES = 20_000
"""Values in a file of rules, each alias counted as all that it stands for."""

_SHOWN = 300


class Rule(BaseModel):
    """What happens to one input, or to all that a JSON path finds.

    Attributes:
        input: an input's name: a tensor's, a key of v1 instances, ``instances`` or ``inputs`` when these have no keys,
            or the field of an OpenAI body (``messages``, ``prompt`` …).
        path: a JSON path (RFC 9535) into a JSON body or the JSON part of a v2 binary one. A gRPC message has
            ``$.id``, ``$.parameters`` and ``$.inputs[*].parameters``.
        action: what is done.
        value: what replaces each value of an input, or the whole of what a path finds.
        optional: whether there may be no request to which it applies.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    input: Annotated[str, Field(min_length=1)] | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    action: Literal["drop", "hash", "replace", "noise"]
    value: JsonValue = None
    optional: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        if (self.input is None) == (self.path is None):
            raise ValueError("a rule has either an input or a path")
        if (self.action == "replace") != ("value" in self.model_fields_set):
            raise ValueError("replace needs a value, and nothing else has one")
        try:
            json.dumps(self.value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("value has text that is not Unicode (a lone surrogate)") from None
        if self.path is not None:
            from kserve_warmup.sampling.scrub.json_paths import compiled  # which takes a tenth of a second

            compiled(self.path)
        return self

    def __str__(self) -> str:
        """Return what the rule is for, in one line and without the value, as a manifest may show it."""
        where = str(self.input if self.path is None else self.path)
        return f"{where if where.isprintable() else repr(where)}: {self.action}"


class Rules(BaseModel):
    """A rules file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    strict: bool = False
    rules: list[Rule] = []

    @model_validator(mode="after")
    def _some(self) -> Rules:
        if not self.rules and not self.strict:
            raise ValueError("there is neither a rule nor strict: true, so nothing would be taken out")
        return self


def load(file: Path) -> Rules:
    """Return what a file of rules says.

    Raises:
        SampleError: it cannot be read, or has a rule that makes no sense; in one line.
    """
    try:
        content = _content(file)
        if not isinstance(content, dict):
            raise SampleError("write rules: and below it a list of rules")  # noqa: TRY301  (one place names the file)
        return Rules.model_validate(content)
    except ValidationError as error:
        raise _refused(file, first_problem(error).removeprefix("manifest: ").replace("Value error, ", "", 1)) from None
    except SampleError as error:
        raise _refused(file, str(error)) from None


def _refused(file: Path, reason: str) -> SampleError:
    words = " ".join(reason.split())
    where = str(file) if len(str(file)) <= _SHOWN else f"{str(file)[:_SHOWN]} …"
    line = f"scrub rules {where}: {words if len(words) <= _SHOWN else words[:_SHOWN] + ' …'}"
    return SampleError("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def _content(file: Path) -> Any:
    loader = None
    try:
        loader = _Loader(_read(file))
        return loader.get_single_data()
    except RecursionError:
        raise SampleError("nested too deep") from None
    except SampleError:
        raise
    except Exception as error:  # noqa: BLE001  (its constructors meet nonsense such as !!int x with errors of many kinds)
        reason = str(error) if isinstance(error, yaml.YAMLError) else f"a value is not what its tag says ({error})"
        raise SampleError(f"not YAML: {reason}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _read(file: Path) -> bytes:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # to open a pipe would wait
            raise SampleError("is not a file: give a file of rules, or the word strict")
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SampleError(f"cannot be read: {reason}; give a file of rules, or the word strict") from None
    if len(content) > LARGEST:
        raise SampleError(f"larger than {LARGEST:,} bytes: is it a file of rules?")
    return content


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML without what a person would not mean: keys given twice, and aliases that grow beyond all bounds."""

    def compose_document(self) -> yaml.Node:
        """Return the document, checked."""
        root = super().compose_document()
        self._check(root, {})
        return root

    def _check(self, node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
        """Return how many values a node holds; a size of 0 stands for a node that is being counted."""
        if node in sizes:
            if not sizes[node]:
                raise SampleError("an alias stands inside of what it stands for")
            return sizes[node]
        sizes[node], size = 0, 1
        if isinstance(node, yaml.MappingNode):
            self._refuse_repeated(node)
            size += sum(self._check(key, sizes) + self._check(value, sizes) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self._check(item, sizes) for item in node.value)
        if size > NODES:
            raise SampleError(f"more than {NODES:,} values, its aliases written out: is it a file of rules?")
        sizes[node] = size
        return size

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key, times in Counter(keys).items() if times > 1), None)
        if twice is not None:
            raise SampleError(f"{twice!r} is given twice, line {node.start_mark.line + 1}")
