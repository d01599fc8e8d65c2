"""How a model wants to be asked, as Triton's configuration of it tells: plainly, as a stream, or in whole sequences.

Other servers have no such configuration and no such models: there every model is asked plainly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import randbelow, token_hex
from typing import Any, TypeVar

import orjson

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import grpc_name
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch

GRPC_MODEL_CONFIG = "/inference.GRPCInferenceService/ModelConfig"

CONFIG_SECONDS = 5.0

MOST_MEMBERS = 64
"""Models of an ensemble that are asked about."""

_TENSOR_PROTOCOLS = frozenset({"v2", "v2-binary", "grpc"})
_ID_BITS = {"TYPE_INT32": 31, "TYPE_UINT32": 32, "TYPE_INT64": 63, "TYPE_UINT64": 63}
_OTHERWISE = re.compile(r"decoupled|START flag|correlation ID")


E = TypeVar("E", bound=WarmupError)


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What a model's configuration says of how it is asked.

    ``decoupled``: a request has any number of responses, and only streams carry them. ``sequence``: the type of the
    correlation ids of its sequences, such as ``TYPE_UINT64``; None: it has no sequences. ``untold``: why the
    configuration could not be read, if it could not.
    """

    decoupled: bool = False
    sequence: str | None = None
    untold: str = ""

    def streams(self, sample: Sample) -> bool:
        """Return whether a request has to go over gRPC's stream."""
        return self.decoupled and takes_tensors(sample)

    def fresh_id(self) -> int | str:
        """Return a correlation id that no other sequence has: at random, from the upper half of those that there are.

        Traffic counts from below, or takes what is as unlikely as this one.
        """
        if self.sequence == "TYPE_STRING":
            return f"kserve-warmup-{token_hex(16)}"
        half = 1 << _ID_BITS.get(self.sequence or "", 63) - 1
        return half + randbelow(half)

    def explained(self, error: E) -> E:
        """Return an error of a request, with what is missing where it failed for being asked in the wrong way."""
        if self.untold and _OTHERWISE.search(str(error)):
            why = "how this model wants to be asked is in its configuration, which the server does not tell"
            return type(error)(f"{error}; {why}: {self.untold}")
        return error


PLAIN = ModelKind()


def takes_tensors(sample: Sample) -> bool:
    """Return whether a request is one for ``infer``, and not for Triton's ``generate``."""
    return sample.protocol in _TENSOR_PROTOCOLS and not sample.verb.startswith("generate")


async def read_kind(
    samples: Iterable[Sample], model: str, http_url: str | None, grpc_address: str | None, headers: Mapping[str, str]
) -> ModelKind:
    """Ask the server how ``model`` wants to be asked; nothing is asked where ``samples`` are none for tensors."""
    if not any(map(takes_tensors, samples)):
        return PLAIN
    decoupled, sequence = False, None
    names, told = [model], {model}
    while names:
        try:
            config = await asyncio.wait_for(_config(names.pop(0), http_url, grpc_address, headers), CONFIG_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            return ModelKind(untold=f"no answer within {CONFIG_SECONDS:g} s")
        except (WarmupError, ConnectionLostError) as error:
            return ModelKind(untold=str(error))
        decoupled = decoupled or bool(_inside(config, "model_transaction_policy").get("decoupled"))
        sequence = sequence or _sequence(_inside(config, "sequence_batching"))
        members = [str(step.get("model_name")) for step in _objects(config, "ensemble_scheduling", "step")]
        names += [name for name in members if name not in told][: MOST_MEMBERS - len(told)]
        told |= set(members)
    return ModelKind(decoupled, sequence)


def _sequence(batching: Mapping[str, Any]) -> str | None:
    """Return the type of the ids of a sequence batcher; None without one, and where it makes the sequences itself."""
    if not batching or batching.get("iterative_sequence"):
        return None
    for given in _objects(batching, "control_input"):
        for control in _objects(given, "control"):
            if control.get("kind") == "CONTROL_SEQUENCE_CORRID":
                return str(control.get("data_type"))
    return "TYPE_UINT64"


async def _config(
    model: str, http_url: str | None, grpc_address: str | None, headers: Mapping[str, str]
) -> dict[str, Any]:
    if http_url is None:
        return await _config_over_grpc(model, str(grpc_address), headers)
    path = f"/v2/models/{url_name(model)}/config"
    answer = await fetch(Address.parse(http_url), "GET", path, headers)
    if not answer.ok:
        raise RequestFailedError(f"GET {path}: HTTP {answer.status} {answer.text}".strip())
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RequestFailedError(f"GET {path}: what it answers is no JSON object")
    return found


async def _config_over_grpc(model: str, address: str, headers: Mapping[str, str]) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
    from kserve_warmup.protocols.protobuf_fields import values
    from kserve_warmup.transports.grpc import GrpcClient

    client = GrpcClient(address, headers)
    try:
        answer = await client.ask(GRPC_MODEL_CONFIG, grpc_name(model), CONFIG_SECONDS)
        config = ModelConfig.FromString(b"".join(values(answer, 1)))
    except (DecodeError, SampleError):
        raise RequestFailedError(f"{GRPC_MODEL_CONFIG}: what it answers is no configuration") from None
    finally:
        await client.close()
    return dict(MessageToDict(config, preserving_proto_field_name=True))


def _inside(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _objects(document: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    *outer, last = names
    for name in outer:
        document = _inside(document, name)
    found = document.get(last)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
