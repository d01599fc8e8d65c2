"""One codec a wire protocol: the table of them, and who asks it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kserve_warmup
from kserve_warmup.errors import SampleError
from kserve_warmup.protocols import json_body, protobuf_fields
from kserve_warmup.protocols.bodies import encode, parse, request
from kserve_warmup.protocols.codec import CODECS, codec_of
from kserve_warmup.protocols.inference_path import InferencePath
from kserve_warmup.protocols.tensors import Tensor, bytes_array
from kserve_warmup.samples.sample import PROTOCOLS
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.place import parsed
from kserve_warmup.sampling.scrub.scrubber import Rule, Scrubber

PACKAGE = Path(kserve_warmup.__file__).parent
CHAT = json.dumps({"messages": [{"role": "user", "content": "hello"}], "model": "m"}).encode()
INPUTS = [Tensor("x", "FP32", np.array([[1.5, 2]], np.float32)), Tensor("t", "BYTES", bytes_array([b"text"], [1, 1]))]


def body_of(protocol):
    if protocol == "raw":
        return b"\x89PNG", {"content-type": "application/octet-stream"}
    return encode(protocol, INPUTS) if CODECS[protocol].has_tensors else (CHAT, {})


def test_every_protocol_has_a_codec():
    assert tuple(CODECS) == PROTOCOLS
    with pytest.raises(SampleError, match="unknown protocol 'soap': use one of v1"):
        codec_of("soap")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_codec_tells_the_truth_about_its_bodies(protocol):
    codec, (body, headers) = CODECS[protocol], body_of(protocol)
    found = parse(protocol, body, headers)
    assert InferencePath.parse(found.path, protocol).template == found.path
    assert found.headers.get("content-type") == codec.content_type
    if codec.is_json:
        json.loads(body)
    if codec.has_tensors:
        types = {spec.name: spec.datatype for spec in found.signature()[0].inputs}
        assert (types == {"t": "BYTES", "x": "FP32"}) == codec.is_typed
        assert [(t.name, t.data.tolist()) for t in found.tensors()] == [("x", [[1.5, 2]]), ("t", [[b"text"]])]
    else:
        with pytest.raises(SampleError, match="bodies hold no tensors: use v1, v2, v2-binary or grpc"):
            found.tensors()


@pytest.mark.parametrize("protocol", [protocol for protocol in PROTOCOLS if protocol != "raw"])  # no rule looks inside
def test_a_body_is_parsed_once_for_its_stratum_its_sample_its_tensors_and_its_scrubbing(protocol, monkeypatch):
    body, headers = body_of(protocol)
    name = "t" if CODECS[protocol].has_tensors else "messages"
    scrubber = Scrubber((Rule(action="noise", input=name),), False, b"key")
    seen = []
    loads, message = json_body.json_value, protobuf_fields.infer_request
    monkeypatch.setattr(json_body, "json_value", lambda text, *rest: seen.append(bytes(text)) or loads(text, *rest))
    monkeypatch.setattr("kserve_warmup.protocols.grpc_body.infer_request", lambda raw: seen.append(raw) or message(raw))
    found = parsed(Record("f", 1, body, headers, protocol=protocol))
    sample = found.sample()
    if CODECS[protocol].has_tensors:
        assert len(found.tensors()) == 2
    scrubbed = scrubber(sample, None, found)
    assert scrubbed.body != body
    assert sum(len(text) for text in seen) <= len(body) + len(scrubbed.body)
    assert len(seen) == 2  # what came in, and what it became


def chains(tree):
    """Yield the lines in which a protocol is told apart by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            if words & set(PROTOCOLS) and "protocol" in ast.unparse(node):
                yield node.lineno


@pytest.mark.parametrize("folder", ["samples", "sampling", "capture", "triton", "serving", "gate", "verify", "cli"])
def test_who_handles_requests_asks_the_codec_and_not_which_protocol_it_is(folder):
    found = {str(f): list(chains(ast.parse(f.read_text()))) for f in (PACKAGE / folder).rglob("*.py")}
    found.pop(str(PACKAGE / "samples/sample.py"), None)  # below the codecs, which make samples
    assert found
    assert {file: lines for file, lines in found.items() if lines} == {}


WITHOUT = """
import sys
for name in ("ml_dtypes", "msgspec", "pybase64", "kserve", "pydantic"):
    sys.modules[name] = None
from kserve_warmup.protocols.bodies import parse, request
from kserve_warmup.protocols.grpc_body import model_infer_request
message = model_infer_request()(raw_input_contents=[b"1234"])
message.inputs.add(name="x", datatype="BF16", shape=[1, 2])
body = message.SerializeToString()
print(request("grpc", body).signature)
print(request("v1", b'{"instances": [{"b64": "QUI="}]}').signature)
try:
    parse("grpc", body, {}).tensors()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_protocols_need_no_more_than_a_serving_image_has_until_a_tensors_type_asks_for_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    signature, text, error = done.stdout.splitlines()
    assert (signature, text) == ("x:BF16[N,2]", "instances:BYTES[N]")
    assert error == "MissingPackageError BF16 tensors need ml-dtypes: pip install 'kserve-warmup[sample]'"


def test_numbers_are_read_without_the_package_that_only_one_type_needs():
    code = (
        "import sys; from kserve_warmup.protocols.bodies import encode, parse; import numpy; "
        "from kserve_warmup.protocols.tensors import Tensor; "
        "b, h = encode('grpc', [Tensor('x', 'FP16', numpy.zeros((1, 2), 'f2'))]); "
        "parse('grpc', b, h).tensors(); sys.exit('ml_dtypes' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_logged_binary_body_is_sent_with_the_type_that_servers_take():
    body, _ = encode("v2-binary", INPUTS)
    assert request("v2-binary", body, headers={"content-type": "application/json"}).headers["content-type"] == (
        "application/octet-stream"
    )
