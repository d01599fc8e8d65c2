"""Our own protobuf messages: generated, in step with their .proto files, and on the wire those of KServe and Triton."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import Message

ROOT = Path(__file__).parents[2]
FOLDER = "kserve_warmup/protocols/generated"
PROTOS = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / FOLDER).glob("*.proto"))
OTHERS = {
    "inference": ("kserve.protocol.grpc.grpc_predict_v2_pb2", "tritonclient.grpc.service_pb2"),
    "model_config": ("tritonclient.grpc.model_config_pb2",),
}


def test_the_messages_are_what_protoc_makes_of_their_proto_files(tmp_path):
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", *PROTOS]
    subprocess.run(command, cwd=ROOT, check=True)
    made = {p.name: p.read_text() for p in (tmp_path / FOLDER).iterdir()}
    kept = {p.name: p.read_text() for p in (ROOT / FOLDER).glob("*_pb2.py")}
    assert made == kept, "run `make protos`"
    assert len(made) == len(PROTOS)


def test_they_run_on_every_protobuf_that_may_be_installed():
    project = (ROOT / "pyproject.toml").read_text()
    for module in (ROOT / FOLDER).glob("*_pb2.py"):
        lowest = next(line for line in module.read_text().splitlines() if "Protobuf Python Version" in line).split()[-1]
        assert f'"protobuf>={lowest},<7"' in project


def filled(message: Message, depth: int = 3) -> Message:
    """Return the message with something in every field; of a oneof the last."""
    for field in message.DESCRIPTOR.fields:
        nested = field.message_type
        if nested is None:
            some = {field.CPPTYPE_STRING: b"\xff" if field.type == field.TYPE_BYTES else "é", field.CPPTYPE_BOOL: True}
            one = some.get(field.cpp_type, 1 if field.enum_type is None else field.enum_type.values[-1].number)
            if field.is_repeated:
                getattr(message, field.name).extend([one, one])
            else:
                setattr(message, field.name, one)
        elif not depth:
            continue
        elif nested.GetOptions().map_entry:
            key = "k" if nested.fields_by_name["key"].cpp_type == field.CPPTYPE_STRING else 1
            value = nested.fields_by_name["value"]
            if value.message_type:
                filled(getattr(message, field.name)[key], depth - 1)
            else:
                getattr(message, field.name)[key] = "v" if value.cpp_type == field.CPPTYPE_STRING else 1
        elif field.is_repeated:
            filled(getattr(message, field.name).add(), depth - 1)
        else:
            filled(getattr(message, field.name), depth - 1).SetInParent()
    return message


def exchange(ours: str, theirs: str) -> None:
    """Send every message that both know through the other's class and back; run in a process of its own."""
    mine, other = importlib.import_module(ours), importlib.import_module(theirs)
    names = mine.DESCRIPTOR.message_types_by_name.keys()
    assert names <= other.DESCRIPTOR.message_types_by_name.keys()
    for name in sorted(names):
        my_class, other_class = getattr(mine, name), getattr(other, name)
        for sender, receiver in ((my_class, other_class), (other_class, my_class)):
            sent = filled(sender())
            wire = sent.SerializeToString(deterministic=True)
            assert wire or not sender.DESCRIPTOR.fields
            received = receiver.FromString(wire)
            assert sender.FromString(received.SerializeToString(deterministic=True)) == sent, name
            if sender is other_class:  # every field of theirs is one of ours, under its own name
                assert str(received) == str(sent), name
        if other_class.DESCRIPTOR.file.package and theirs.startswith("tritonclient"):
            assert str(filled(my_class())) == str(filled(other_class())), name


@pytest.mark.parametrize(("name", "theirs"), [(name, module) for name, modules in OTHERS.items() for module in modules])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_every_message_goes_through_the_others_class_and_back_in_one_process(name, theirs, first):
    ours = f"kserve_warmup.protocols.generated.{name}_pb2"
    order = [ours, theirs] if first == "ours" else [theirs, ours]
    code = f"import {order[0]}, {order[1]}, test_protobuf; test_protobuf.exchange({ours!r}, {theirs!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_kserves_messages_and_tritons_configuration_stand_side_by_side_without_tritonclient():
    code = (
        "import kserve.protocol.grpc.grpc_predict_v2_pb2, kserve_warmup.triton.model_config as config, sys\n"
        "assert config.parse(b'name: \"m\"').name == 'm' and 'tritonclient' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
