"""Does the merge keep public ``config.pbtxt`` files, and mutations of them, byte for byte?

Run as ``python -m benchmarks.pbtxt_corpus DIR``.

Every file below DIR that ends in ``.pbtxt`` is tried as it is and in mutated forms: other line ends, no last line end,
a BOM, comments in another encoding, an unfinished last comment, unknown fields, and random edits. A file that protobuf
cannot read must be refused; any other must be merged, merged again, and restored to its bytes.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.pbtxt import merge, own_span, remove

BLOCK = (
    'model_warmup {\n  name: "one"\n  batch_size: 1\n  inputs { key: "X" value { data_type: TYPE_FP32 dims: 4 } }\n}\n'
)
OTHER = BLOCK.replace("one", 'it\'s \\"two\\" # >>> { [ <')
RANDOM_EDITS = 20
BITS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b'"',
    b"'",
    b"#",
    b"\n",
    b"\\",
    b":",
    b",",
    b"\xff",
    b"# <<< kserve-warmup <<<",
)


def mutations(text: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield forms of ``text`` by name."""
    unix = text.replace(b"\r\n", b"\n")
    yield "as it is", text
    yield "crlf", unix.replace(b"\n", b"\r\n")
    yield "no last line end", text.rstrip()
    yield "bom", b"\xef\xbb\xbf" + text
    yield "latin-1 comment", b"# caf\xe9 \xff { ' \"\n" + text
    yield "last line an open comment", text + b"# the end {"
    yield "unknown fields", text + b'\nfuture_field { a: [1, 2] b < c: "x" > }\nother_future: "a" \'b\';'
    yield "hand-written warm-up", text + b'\nmodel_warmup [ { name: "mine" batch_size: 1 } ]'
    source = random.Random(seed)
    for number in range(RANDOM_EDITS):
        at = source.randrange(len(text) + 1)
        cut = source.choice((0, 0, 1, 5))
        yield f"random edit {number}", text[:at] + source.choice(BITS) + text[at + cut :]


def check(text: bytes) -> str:
    """Return what came of one text: ``kept``, ``refused``, or a failure's description."""
    try:
        before = parse(text)
    except TritonConfigError:
        before = None
    try:
        merged = merge(text, BLOCK, "0a")
    except TritonConfigError as error:
        markers = b"kserve-warmup" in text  # a damaged marker is refused whatever the config says
        return "refused" if before is None or markers else f"FAILED: refused a readable config: {error}"
    if before is None:
        return "FAILED: accepted what protobuf cannot read"
    span = own_span(merged)
    if span is None or not merged.startswith(text) or remove(merged) != text:
        return "FAILED: bytes outside the part changed"
    mine, after = list(before.model_warmup), parse(merged)
    if list(after.model_warmup)[: len(mine)] != mine or len(after.model_warmup) != len(mine) + 1:
        return "FAILED: hand-written warm-up changed"
    again = merge(merged, OTHER, "0b")
    if remove(again) != text or merge(again, BLOCK, "0a") != merged or merge(merged, BLOCK, "0a") != merged:
        return "FAILED: not the same when repeated"
    return "kept"


def run(folder: Path) -> dict[str, object]:
    """Return the counts over every file below ``folder``."""
    outcomes: Counter[str] = Counter()
    readable = 0
    files = sorted(folder.rglob("*.pbtxt"))
    for seed, file in enumerate(files):
        for name, text in mutations(file.read_bytes(), seed):
            outcome = check(text)
            readable += name == "as it is" and outcome == "kept"
            outcomes[outcome.split(":")[0]] += 1
            if outcome.startswith("FAILED"):
                print(f"{file} ({name}): {outcome}")
    return {"files": len(files), "readable": readable, "texts": outcomes.total(), **outcomes}


if __name__ == "__main__":
    result = run(Path(sys.argv[1]))
    print(json.dumps(result))
    sys.exit(1 if result.get("FAILED") else 0)
