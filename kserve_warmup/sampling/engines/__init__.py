"""Ways to read traffic on many cores: each splits the same work and merges to the same digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.formats.record import Part

Work = Sequence[tuple[str, Part]]
"""Parts of files to read, each with its format, which is empty when the file's content is to tell it."""

Engine = Callable[[Work, Job, Callable[[int], object]], Digest]
"""Reads the work to one digest; told, as bytes are read, how many."""
