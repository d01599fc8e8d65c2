"""A sample set as the generator reads it: the manifest at once, each body only when it is encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.manifest import MOST_BYTES, Entry, Manifest
from kserve_warmup.samples.sample import Signature, TensorSpec
from kserve_warmup.samples.store import MANIFEST, load_sample, read_inside


@dataclass(frozen=True)
class Traffic:
    """The samples of one model in a folder; bodies stay on disk, so that gigabytes of them never meet in memory."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Traffic:
        """Read the manifest of a sample set.

        Raises:
            SampleError: There is none, or it cannot be used.
        """
        return cls(folder, Manifest.parse(read_inside(folder, MANIFEST, most=MOST_BYTES), str(folder / MANIFEST)))

    @cached_property
    def digest(self) -> bytes:
        """Return what tells this set from any other: the digest of its manifest, which holds each body's own."""
        return hashlib.blake2b(read_inside(self.folder, MANIFEST), digest_size=16).digest()

    def __iter__(self) -> Iterator[Entry]:
        """Iterate the samples' entries in descending weight."""
        return iter(sorted(self.manifest.samples, key=lambda e: (-e.weight, e.id)))

    def tensors(self, entry: Entry) -> dict[str, Tensor]:
        """Read and decode one body, checked against its recorded hash, as tensors by name."""
        try:
            sample = load_sample(self.folder, entry)
            return {t.name: t for t in decode(sample.protocol, sample.body, sample.headers)}
        except SampleError as error:
            raise SampleError(f"{self.folder}, sample {entry.id[:8]}: {error}") from None


def signature_of(entry: Entry) -> Signature:
    """Return the signature that an entry records."""
    inputs = tuple(TensorSpec(i.name, i.datatype, i.shape) for i in entry.signature.inputs)
    return Signature(inputs, entry.signature.batched)
