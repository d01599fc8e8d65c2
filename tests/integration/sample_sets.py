"""Sample sets of made-up requests."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from kserve_server import v1_body

from kserve_warmup import SampleSet
from kserve_warmup.protocols.bodies import Tensor, encode, request


def samples(*protocols, rows=(1, 2)):
    """Make one request for each protocol and batch size."""
    made = []
    for protocol in protocols:
        for batch in rows:
            if protocol == "v1":
                made.append(request("v1", v1_body(batch)))
                continue
            tensors = [Tensor("x", "FP32", np.full((batch, 2), 0.5, dtype=np.float32))]
            body, headers = encode(protocol, tensors)
            made.append(request(protocol, body, headers=headers))
    return tuple(sample.with_weight(1 / len(made)) for sample in made)


def save(folder, made, model="model"):
    SampleSet(
        model=model, source="test", created="2026-01-01T00:00:00Z", selection={}, coverage=1.0, samples=made
    ).save(folder)
    return folder


def poisoned(folder, path, body=None):
    """Give a set of one sample another path or body, with all that belongs to it, as somebody hostile would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (sample,) = SampleSet.open(folder)
    made = replace(sample, path=path, body=sample.body if body is None else body)
    (entry,) = manifest["samples"]
    name = f"bodies/{made.id}{Path(entry['body']).suffix}"
    (folder / name).write_bytes(made.body)
    entry |= {"id": made.id, "path": path, "body": name}
    entry |= {"sha256": hashlib.sha256(made.body).hexdigest(), "size": len(made.body)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
