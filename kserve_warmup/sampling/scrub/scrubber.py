"""Take private content out of requests before anything is stored: rules by input name or JSON path.

A rules file is YAML or JSON::

    strict: true                        # refuse text that no rule covers
    rules:
      - {input: text, action: noise}    # an input by name, over every protocol
      - {path: "$.instances[*].customer", action: hash}
      - {path: "$.parameters.user", action: drop}
      - {input: age, action: replace, value: 40}
      - {input: comment, action: drop, optional: true}  # it may be in no request at all

``hash`` keeps equal values equal, ``noise`` keeps types, shapes and lengths. Both need a key: that in the environment
variable :data:`KEY`, or a new random one, with which no two runs give the same.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import parse
from kserve_warmup.protocols.codec import Body
from kserve_warmup.protocols.edits import Edit, Parts
from kserve_warmup.protocols.tensors import Array, Tensor
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.scrub import scrub_rules as _scrub_rules
from kserve_warmup.sampling.scrub.pseudonyms import Pseudonyms, map_leaves
from kserve_warmup.sampling.scrub.scrub_rules import Rule

__all__ = ["KEY", "STRICT", "Rule", "Scrubber"]

KEY = "KSERVE_WARMUP_SCRUB_KEY"
"""Environment variable with the secret that hashes and noise depend on."""

STRICT = "strict"


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
        files = [_scrub_rules.load(Path(option)) for option in chosen if option != STRICT]
        strict = STRICT in chosen or any(file.strict for file in files)
        return cls(tuple(rule for file in files for rule in file.rules), strict, _key())

    def __call__(self, sample: Sample, applied: list[int] | None = None, body: Body | None = None) -> Sample:
        """Return a request as the rules leave it; one that no rule touches stays as it is, byte for byte.

        Args:
            sample: the request.
            applied: for each rule, the number of places where it was applied is added, even when another rule fails.
            body: the request's body, where it is parsed already; it is used up.

        Raises:
            UncoveredError: ``strict`` is set and there is text that no rule covers.
            SampleError: a rule cannot be applied to what it finds, or what is left is no request. No message holds
                content of the request.
        """
        counts = [0] * len(self.rules) if applied is None else applied
        try:
            return self._scrubbed(sample, counts, body or parse(sample.protocol, sample.body, sample.headers))
        except SampleError:
            raise
        except RecursionError:
            raise SampleError("nested too deep") from None
        except Exception as error:  # noqa: BLE001  (a body that nobody thought of must not pass)
            raise SampleError(f"a rule does not fit its form ({type(error).__name__})") from None

    def _scrubbed(self, sample: Sample, applied: list[int], body: Body) -> Sample:
        pseudonyms = Pseudonyms(self.key, sample.body)
        edits = [Edit(_where(r), r.input, _finder(r), r.action == "drop", *_changes(r, pseudonyms)) for r in self.rules]
        raw, headers = body.edit(edits, applied, strict=self.strict)
        if raw is body.raw:
            return sample
        return parse(sample.protocol, raw, headers).sample(sample.path, sample.weight).of(sample.stratum)


def _where(rule: Rule) -> str:
    return f"input {rule.input!r}" if rule.path is None else f"path {rule.path}"


def _finder(rule: Rule) -> Callable[[Any], Iterable[tuple[Any, Any, Parts]]] | None:
    """Return what finds a rule's places in a document, None for an input."""
    if rule.path is None:
        return None
    from kserve_warmup.sampling.scrub import (
        json_paths as _scrub_paths,
    )  # which takes a tenth of a second that input names need not

    return partial(_scrub_paths.found, rule.path)


def _changes(rule: Rule, pseudonyms: Pseudonyms) -> tuple[Callable[[Any, str | None], Any], Callable[[Tensor], Array]]:
    """Return how a rule changes a JSON value of a datatype, and how a tensor."""
    if rule.action == "noise":
        return lambda value, _: pseudonyms.noise(value), lambda tensor: pseudonyms.noise_array(tensor.data)
    if rule.action == "hash":
        return (
            lambda value, datatype: map_leaves(value, lambda leaf: pseudonyms.hashed(leaf, datatype)),
            lambda tensor: _elementwise(tensor.data, lambda leaf: pseudonyms.hashed(leaf, tensor.datatype)),
        )
    if rule.path is not None:
        return lambda _, __: map_leaves(rule.value, lambda leaf: leaf), lambda tensor: tensor.data
    return (
        lambda value, _: map_leaves(value, lambda leaf: _replaced(leaf, rule.value)),
        lambda tensor: _elementwise(tensor.data, lambda leaf: _replaced(leaf, rule.value)),
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
    kind = str if isinstance(old, str) else type(old)  # another rule may have changed it
    fits: Sequence[type] = (int, float) if kind is float else (kind,)
    if type(new) not in fits:
        raise SampleError(f"a value of type {kind.__name__} cannot be replaced by a {type(new).__name__}")
    return kind(new)


def _key() -> bytes:
    given = os.environ.get(KEY, "").encode()
    return given[:64] or secrets.token_bytes(32)
