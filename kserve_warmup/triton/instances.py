"""What each instance of a model ran at its load, of which the statistics tell the sum only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.triton.disposable import calls
from kserve_warmup.triton.rules import instances_of


@dataclass(frozen=True)
class Instances:
    """Warm-up calls on each instance of a model, of each block, from a server's log.

    Attributes:
        expected: calls of each block that the configuration asks for.
        number: of instances that the configuration asks for.
        ran: calls of each block that began, by instance.
    """

    expected: Mapping[str, int]
    number: int
    ran: Mapping[str, Mapping[str, int]]

    @property
    def total(self) -> int:
        """Return the warm-up calls of all instances."""
        return sum(sum(made.values()) for made in self.ran.values())

    @property
    def equal(self) -> bool:
        """Return whether every instance ran every block as often as it is to."""
        seen = len(self.ran) == self.number if self.expected else not self.ran
        return seen and all(dict(found) == dict(self.expected) for found in self.ran.values())

    def __str__(self) -> str:
        """Return what ran in words."""
        if self.equal:
            calls_each = sum(self.expected.values())
            each = f"{calls_each} call{'' if calls_each == 1 else 's'}"
            return f"{each} on its instance" if self.number == 1 else f"{each} on each of {self.number} instances"
        found = [f"{sum(made.values())} calls on {name}" for name, made in sorted(self.ran.items())]
        wanted = f"not {sum(self.expected.values())} on each of {self.number}"
        return f"{', '.join(found) or 'none'}, {wanted}"


def instances_in(log: str, model: str, config: Mapping[str, Any], versions: int = 1) -> Instances:
    """Return what each instance of ``model`` ran.

    Args:
        log: The server's, with ``--log-verbose=1``, from its start to one load of the model.
        model: Its name.
        config: The configuration that the server runs, as its API tells.
        versions: How many versions of it were loaded; their instances have the same names.
    """
    running = ModelConfig()
    json_format.ParseDict(dict(config), running, ignore_unknown_fields=True)
    expected: Counter[str] = Counter()
    for block in running.model_warmup:
        if block.batch_size:
            expected[block.name] += max(1, block.count) * versions
    ran: dict[str, Counter[str]] = {}
    for call in calls(log, model):
        ran.setdefault(call.instance, Counter())[call.block] += 1
    return Instances(dict(expected), instances_of(running), ran)
