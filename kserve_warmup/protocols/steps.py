"""A request as a step of a sequence: Triton's correlation id, and the flags that open and close one.

A server keeps what one step leaves for the next. A recorded step is sent as part of another sequence than it was
recorded in, so that its id and its flags are written anew, and nothing else.
"""

from __future__ import annotations

from typing import Any

from kserve_warmup.protocols.bodies import parse
from kserve_warmup.protocols.variant import SEQUENCE_END, SEQUENCE_START
from kserve_warmup.samples.sample import Sample

SEQUENCE_ID = "sequence_id"


def correlation_id(sample: Sample) -> int | str | None:
    """Return the id of the sequence that a request was a step of; None where it has none.

    Raises:
        SampleError: the body is no request.
    """
    body: Any = parse(sample.protocol, sample.body, sample.headers)
    if sample.protocol == "grpc":
        found = body.message.parameters.get(SEQUENCE_ID)
        kind = found.WhichOneof("parameter_choice") if found else None
        value = getattr(found, kind) if kind else None
    else:
        parameters = body.document.get("parameters")
        value = parameters.get(SEQUENCE_ID) if isinstance(parameters, dict) else None
    return value if isinstance(value, (int, str)) and value else None


def as_step(sample: Sample, sequence: int | str, *, start: bool, end: bool) -> Sample:
    """Return the same request as a step of ``sequence``, the one that opens it, closes it, both or neither.

    Raises:
        SampleError: the body is no request.
    """
    body: Any = parse(sample.protocol, sample.body, sample.headers)
    if sample.protocol == "grpc":
        parameters = body.message.parameters
        for name in (SEQUENCE_ID, SEQUENCE_START, SEQUENCE_END):
            parameters.pop(name, None)
        if isinstance(sequence, str):
            parameters[SEQUENCE_ID].string_param = sequence
        else:
            parameters[SEQUENCE_ID].int64_param = sequence
        parameters[SEQUENCE_START].bool_param, parameters[SEQUENCE_END].bool_param = start, end
    else:
        given = body.document.get("parameters")
        flags = {SEQUENCE_ID: sequence, SEQUENCE_START: start, SEQUENCE_END: end}
        body.document["parameters"] = (given if isinstance(given, dict) else {}) | flags
    raw, headers = body.written()
    return sample.but(body=raw, headers=headers)
