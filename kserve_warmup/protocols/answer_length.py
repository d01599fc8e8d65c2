"""Requests for shorter answers: the first tokens take every path of a long answer, in a fraction of its time."""

from __future__ import annotations

from kserve_warmup.protocols.json_body import json_bytes, json_object
from kserve_warmup.protocols.variant import LENGTHS
from kserve_warmup.samples.sample import Sample

_FIELDS = {
    "v1/chat/completions": "max_tokens",
    "v1/completions": "max_tokens",
    "v1/responses": "max_output_tokens",
}
"""What generates text, and the field by which its length is limited where a request does not do so."""


def with_fewer_tokens(sample: Sample, most: int) -> Sample:
    """Return the same request for an answer of at most ``most`` tokens; the very same one if it asks for no more.

    What else it asks for stays as it is, and so does a request that wants a least number of tokens above ``most``.

    Raises:
        SampleError: its body is no JSON object.
    """
    if sample.protocol != "openai" or sample.verb not in _FIELDS:
        return sample
    document = json_object(sample.body, sample.protocol)
    asked = {name: value for name in LENGTHS if type(value := document.get(name)) is int}
    shorter = {name: most for name in asked or (_FIELDS[sample.verb],) if asked.get(name, most + 1) > most}
    least = document.get("min_tokens")
    if not shorter or (type(least) is int and least > most):
        return sample
    return sample.but(body=json_bytes(document | shorter))
