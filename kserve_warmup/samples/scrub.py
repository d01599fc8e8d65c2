"""Take private content out of requests before anything is stored: rules by input name or JSON path.

A rules file is YAML or JSON::

    strict: true                        # refuse text that no rule covers
    rules:
      - {input: text, action: noise}    # an input by name, over every protocol
      - {path: "$.instances[*].customer", action: hash}
      - {path: "$.parameters.user", action: drop}
      - {input: age, action: replace, value: 40}

``hash`` keeps equal values equal, ``noise`` keeps types, shapes and lengths. Both need a key: that in the environment
variable :data:`KEY`, or a new random one, with which no two runs give the same.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from kserve_warmup.errors import SampleError
from kserve_warmup.samples import _scrub_bodies
from kserve_warmup.samples._pseudonyms import Pseudonyms, map_leaves
from kserve_warmup.samples.datatypes import Array
from kserve_warmup.samples.manifest import first_problem
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.wire import request

KEY = "KSERVE_WARMUP_SCRUB_KEY"
"""Environment variable with the secret that hashes and noise depend on."""

STRICT = "strict"


class Rule(BaseModel):
    """What happens to one input, or to all that a JSON path finds.

    Attributes:
        input: an input's name: a tensor's, a key of v1 instances, ``instances`` or ``inputs`` when these have no keys,
            or the field of an OpenAI body (``messages``, ``prompt`` …).
        path: a JSON path (RFC 9535) into a JSON body or the JSON part of a v2 binary one. A gRPC message has
            ``$.id``, ``$.parameters`` and ``$.inputs[*].parameters``.
        action: what is done.
        value: what replaces each value of an input, or the whole of what a path finds.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    input: str | None = None
    path: str | None = None
    action: Literal["drop", "hash", "replace", "noise"]
    value: Any = None

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        if (self.input is None) == (self.path is None):
            raise ValueError("a rule has either an input or a path")
        if (self.action == "replace") != ("value" in self.model_fields_set):
            raise ValueError("replace needs a value, and nothing else has one")
        if self.path is not None:
            _scrub_bodies.compiled(self.path)
        return self

    def __str__(self) -> str:
        """Return what the rule is for, without the value, as a manifest may show it."""
        return f"{self.input if self.path is None else self.path}: {self.action}"


class Rules(BaseModel):
    """A rules file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    strict: bool = False
    rules: list[Rule] = []


@dataclass(frozen=True)
class Scrubber:
    """Rules, ready to be applied; it can be pickled, so that all processes of a run use the same key."""

    rules: tuple[Rule, ...]
    strict: bool
    key: bytes

    @classmethod
    def load(cls, options: Iterable[str | Path]) -> Scrubber | None:
        """Return what the options of ``--scrub`` ask for: files of rules, and the word ``strict``; None for none.

        Raises:
            SampleError: a file cannot be read, or has a rule that makes no sense.
        """
        chosen = list(map(str, options))
        if not chosen:
            return None
        files = [_rules(Path(option)) for option in chosen if option != STRICT]
        strict = STRICT in chosen or any(file.strict for file in files)
        return cls(tuple(rule for file in files for rule in file.rules), strict, _key())

    def __call__(self, sample: Sample) -> Sample:
        """Return a request as the rules leave it; one that no rule touches stays as it is, byte for byte.

        Raises:
            SampleError: a rule does not fit what it finds, what is left is no request, or ``strict`` is set and there
                is text that no rule covers. The message holds no content of the request.
        """
        pseudonyms = Pseudonyms(self.key, sample.body)
        edits = [_scrub_bodies.Edit(r.input, r.path, r.action == "drop", *_changes(r, pseudonyms)) for r in self.rules]
        body, headers = _scrub_bodies.edit(sample, edits, strict=self.strict)
        if body is sample.body:
            return sample
        return request(sample.protocol, body, path=sample.path, headers=headers, weight=sample.weight)

    def scrub(self, samples: SampleSet) -> SampleSet:
        """Return a set with all its requests scrubbed; it tells which rules were applied."""
        selection = samples.selection | {"scrub": [str(rule) for rule in self.rules], "strict": self.strict}
        return replace(samples, samples=tuple(map(self, samples)), selection=selection)


def _changes(rule: Rule, pseudonyms: Pseudonyms) -> tuple[Callable[[Any], Any], Callable[[Array], Array]]:
    """Return how a rule changes a JSON value, and how an array."""
    if rule.action == "noise":
        return pseudonyms.noise, pseudonyms.noise_array
    if rule.action == "hash":
        return lambda value: map_leaves(value, pseudonyms.hashed), lambda a: _elementwise(a, pseudonyms.hashed)
    if rule.path is not None:
        return lambda _: map_leaves(rule.value, lambda leaf: leaf), lambda array: array
    return (
        lambda value: map_leaves(value, lambda leaf: _replaced(leaf, rule.value)),
        lambda array: _elementwise(array, lambda leaf: _replaced(leaf, rule.value)),
    )


def _elementwise(array: Array, change: Callable[[Any], Any]) -> Array:
    import numpy as np

    out = np.empty(array.size, dtype=array.dtype)
    try:
        out[:] = [change(value) for value in array.ravel().tolist()]
    except (OverflowError, ValueError, TypeError):
        raise SampleError(f"the replacement does not fit {array.dtype}") from None
    return out.reshape(array.shape)


def _replaced(old: Any, new: Any) -> Any:
    """Return ``new`` in the type of ``old``."""
    if isinstance(old, bytes) and isinstance(new, str):
        return new.encode()
    fits: Sequence[type] = (int, float) if type(old) is float else (type(old),)
    if type(new) not in fits:
        raise SampleError(f"a value of type {type(old).__name__} cannot be replaced by a {type(new).__name__}")
    return type(old)(new)


def _rules(file: Path) -> Rules:
    import yaml

    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        msg = f"scrub rules {file}: cannot be read: {error.strerror or error}; give a file of rules, or the word strict"
        raise SampleError(msg) from None
    except yaml.YAMLError as error:
        raise SampleError(f"scrub rules {file}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        raise SampleError(f"scrub rules {file}: {first_problem(error)}") from None


def _key() -> bytes:
    given = os.environ.get(KEY, "").encode()
    return given[:64] or secrets.token_bytes(32)
