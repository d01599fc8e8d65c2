"""All rules, by name."""

from __future__ import annotations

from typing import Any

from kserve_warmup.lint.findings import Rule
from kserve_warmup.lint.lint_run import OF_IMAGES, OF_MODELS
from kserve_warmup.lint.manifest_lint import OF_CONTAINERS, OF_OBJECTS

ALL: tuple[Rule[Any], ...] = (*OF_CONTAINERS, *OF_OBJECTS, *OF_MODELS, *OF_IMAGES)
RULES: dict[str, Rule[Any]] = {rule.id: rule for rule in ALL}
