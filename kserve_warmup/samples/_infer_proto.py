"""The protobuf message ``ModelInferRequest`` of the Open Inference Protocol, in a descriptor pool of its own.

KServe and tritonclient each bring a generated module for it, and the two cannot live in one process: both register
``inference.ModelInferRequest`` in the default pool, in files of different names, and the second import fails with
"duplicate symbol 'inference.ServerLiveRequest'" (kserve 0.21, tritonclient 2.73, protobuf 6.33). A pool of our own
meets neither, and spares the second and the 150 MB that importing KServe takes. On the wire all are the same
(open-inference-protocol, specification/protocol/open_inference_grpc.proto); a test compares this with KServe's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_PACKAGE = "inference"

# Message → fields: name, number, type; "*" repeats, "oneof" is the choice inside a parameter.
_MESSAGES = {
    "InferParameter": (
        ("bool_param", 1, "oneof bool"),
        ("int64_param", 2, "oneof int64"),
        ("string_param", 3, "oneof string"),
        ("double_param", 4, "oneof double"),
        ("uint64_param", 5, "oneof uint64"),
    ),
    "InferTensorContents": (
        ("bool_contents", 1, "* bool"),
        ("int_contents", 2, "* int32"),
        ("int64_contents", 3, "* int64"),
        ("uint_contents", 4, "* uint32"),
        ("uint64_contents", 5, "* uint64"),
        ("fp32_contents", 6, "* float"),
        ("fp64_contents", 7, "* double"),
        ("bytes_contents", 8, "* bytes"),
    ),
    "ModelInferRequest": (
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("parameters", 4, "map"),
        ("inputs", 5, "* ModelInferRequest.InferInputTensor"),
        ("outputs", 6, "* ModelInferRequest.InferRequestedOutputTensor"),
        ("raw_input_contents", 7, "* bytes"),
    ),
    "ModelInferRequest.InferInputTensor": (
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "* int64"),
        ("parameters", 4, "map"),
        ("contents", 5, "InferTensorContents"),
    ),
    "ModelInferRequest.InferRequestedOutputTensor": (("name", 1, "string"), ("parameters", 2, "map")),
}


@cache
def model_infer_request() -> Any:
    """Return the message class ``ModelInferRequest``."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="kserve_warmup/infer.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.partition(".")
        made[name] = made[outer].nested_type.add(name=inner) if inner else file.message_type.add(name=outer)
        for field in fields:
            _add_field(made[name], name, *field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelInferRequest"))


def _add_field(message: Any, owner: str, name: str, number: int, kind: str) -> None:
    """Add a field to a message's description; ``map`` is one from strings to ``InferParameter``."""
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind == "map" or kind.startswith("*") else field.LABEL_OPTIONAL
    kind = kind.removeprefix("* ")
    if kind == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, owner, "key", 1, "string")
        _add_field(entry, owner, "value", 2, "InferParameter")
        kind = f"{owner}.ParametersEntry"
    if kind.startswith("oneof "):
        kind = kind.removeprefix("oneof ")
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
