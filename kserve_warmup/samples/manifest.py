"""The manifest of a sample set: what it must look like, checked the same way before writing and after reading."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue, ValidationError

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import CODECS, check_body
from kserve_warmup.protocols.inference_path import InferencePath
from kserve_warmup.samples.sample import (
    DATATYPES,
    RAGGED,
    UNTYPED,
    Protocol,
    Sample,
    Signature,
    StoredBody,
    TensorSpec,
    keep_headers,
)

BODY_NAME = re.compile(f"[0-9a-f]{{32}}(?:{'|'.join(sorted({re.escape(codec.suffix) for codec in CODECS.values()}))})")
"""The name of a body file: the sample's id, and a suffix that tells how to look at it."""

MOST_BYTES = 16 << 20
"""16 MiB: of a manifest; one with 200 samples takes 150 KB."""

MOST_ENTRIES = 20_000
"""Samples of a set."""

MOST_KEYS = 64
"""Keys of any object in a manifest; the schema has thirteen at most."""

MOST_PARTS = 1_000_000
"""Values in a manifest, at any depth: each takes many times its characters in memory."""

MOST_BODY_BYTES = 2 << 30
"""2 GiB: of all body files of a set together."""

MOST_SENT_BYTES = 16 << 30
"""16 GiB: of all samples' bodies together, each counted although several may share a file: each is checked."""

_NUMBERS = re.compile(r"\[\n\s+(-?\d+(?:,\n\s+-?\d+)*)\n\s+\]")
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    # Nothing is converted, and a misspelt field is an error: people edit manifests by hand.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Input(_Part):
    """One input of a signature."""

    name: Annotated[str, Field(min_length=1)]
    datatype: Literal[tuple([*DATATYPES, UNTYPED])]  # type: ignore[valid-type]  # noqa: C409  (Literal takes a tuple)
    shape: Annotated[tuple[Annotated[int, Field(ge=RAGGED)], ...], FailFast()]


class Inputs(_Part):
    """A signature."""

    batched: bool
    inputs: Annotated[tuple[Input, ...], FailFast()]


class Entry(_Part):
    """One sample; ``body`` is a file's path inside the set's folder and ``size`` its bytes."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    protocol: Protocol
    path: str
    headers: dict[str, str]
    body: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    signature: Inputs
    variant: dict[str, str] = {}  # sets of before have none, nor have most samples
    batch: Annotated[int, Field(ge=1)]
    weight: _Share

    @classmethod
    def of(cls, sample: Sample, body: str) -> Entry:
        """Return the entry of a sample whose body is in the file ``body``.

        Raises:
            SampleError: the sample could not be opened again.
            ValidationError: it does not fit the schema.
        """
        content = sample.body
        inputs = tuple(Input(name=i.name, datatype=i.datatype, shape=i.shape) for i in sample.signature.inputs)
        entry = cls(
            id=sample.id,
            protocol=sample.protocol,
            path=sample.path,
            headers=dict(sorted(sample.headers.items())),
            body=body,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            signature=Inputs(batched=sample.signature.batched, inputs=inputs),
            variant=dict(sample.variant),
            batch=sample.batch,
            weight=exact_share(sample.weight),
        )
        entry.check(content)
        return entry

    def sample(self, body: bytes | StoredBody) -> Sample:
        """Return the sample with its body, which :meth:`check` looks at."""
        inputs = tuple(TensorSpec(i.name, i.datatype, i.shape) for i in self.signature.inputs)
        signature, variant = Signature(inputs, self.signature.batched), tuple(sorted(self.variant.items()))
        content = cast("bytes", body)  # what Sample.body gives
        return Sample(
            self.protocol, content, signature, self.batch, self.path, dict(self.headers), self.weight, variant
        )

    def check(self, body: bytes) -> None:
        """Refuse an entry with a body that is not what was recorded, or must not be sent.

        Raises:
            SampleError: a header is not allow-listed, the path is no inference endpoint's, the body commands more than
                an inference, or something was changed after recording.
        """
        if keep_headers(self.headers) != self.headers:
            raise SampleError(f"sample {self.id}: it has headers that a sample must not keep; sample the traffic anew")
        if self.sample(body).id != self.id:
            raise SampleError(f"sample {self.id}: its path, headers or body were changed after it was recorded")
        try:
            InferencePath.parse(self.path, self.protocol)
            check_body(self.protocol, body, self.headers)
        except SampleError as error:
            raise SampleError(f"sample {self.id}: {error}; remove it, or sample the traffic anew") from None


class Manifest(_Part):
    """The file ``manifest.json``."""

    model_config = ConfigDict(populate_by_name=True)

    version: Annotated[Literal[1], Field(alias="schema")] = 1
    model: str
    source: str
    created: str
    selection: dict[str, JsonValue]
    coverage: _Share
    samples: Annotated[tuple[Entry, ...], Field(max_length=MOST_ENTRIES), FailFast()]

    @classmethod
    def parse(cls, text: bytes, where: str) -> Manifest:
        """Return the manifest in ``text``; ``where`` names the file in errors."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise SampleError(f"{where}: Invalid JSON: {error}") from None
        _check_keys(document, where)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise SampleError(f"{where}: {first_problem(error)}") from None

    def check_sizes(self) -> None:
        """Refuse what the bodies claim to take together, before one is read.

        Raises:
            SampleError: it is too much.
        """
        files = {entry.body: entry.size for entry in self.samples}
        for what, size, most in (
            ("body files", sum(files.values()), MOST_BODY_BYTES),
            ("samples", sum(entry.size for entry in self.samples), MOST_SENT_BYTES),
        ):
            if size > most:
                msg = (
                    f"its {what} have {size:,} bytes together, more than {most:,}: sample the traffic with --max-bytes"
                )
                raise SampleError(msg)

    def text(self) -> str:
        """Return the manifest as JSON that people can review: indented, with shapes on one line."""
        usual = {number: {"variant"} for number, entry in enumerate(self.samples) if not entry.variant}
        text = self.model_dump_json(indent=2, by_alias=True, exclude={"samples": usual})
        # A line break inside a JSON string is escaped, so this only meets arrays.
        return _NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"


def _check_keys(document: object, where: str) -> None:
    """Refuse objects with more keys than any can have: validation would describe what is wrong with each of them."""
    items, parts = [document], 0
    while items:
        item = items.pop()
        parts += len(item) if isinstance(item, dict | list) else 0
        if parts > MOST_PARTS:
            raise SampleError(f"{where}: more than {MOST_PARTS:,} values are in it: it is no set of samples")
        if isinstance(item, dict):
            if len(item) > MOST_KEYS:
                raise SampleError(f"{where}: an object in it has {len(item):,} keys, more than {MOST_KEYS}")
            items += [child for child in item.values() if isinstance(child, dict | list)]
        elif isinstance(item, list):
            items += [child for child in item if isinstance(child, dict | list)]


def exact_share(value: float) -> float:
    """Return a share without the rounding error by which a sum of shares may end above 1."""
    return 1.0 if 1 < value < 1 + 1e-9 else value


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line: where, what, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(map(str, problems[0]["loc"])) or "manifest"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(f"{where}: {problems[0]['msg']}{more}".split())
