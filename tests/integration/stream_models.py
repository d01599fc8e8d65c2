"""Models of Triton that no plain request reaches: decoupled ones, generate's, and sequences; each tells what it did."""

import json

import numpy as np

from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.samples.store import SampleSet

OUTPUT = 'backend: "python"\nmax_batch_size: 8\noutput [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
X = 'input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
DECOUPLED = "model_transaction_policy { decoupled: True }\n"

NOTE = """
import json, os, time
import numpy as np
import triton_python_backend_utils as pb

def note(**told):
    with open(os.path.join(os.environ["CALLS"], "{model}"), "a") as file:
        file.write(json.dumps(told) + "\\n")

def value(request, name="X"):
    return pb.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]

def y(number):
    return pb.InferenceResponse([pb.Tensor("Y", np.full((1, 1), number, np.float32))])

SLOW = 0.4  # of a first call
"""

# X[0] responses, 50 ms apart; 99 of them are an error.
ANY_NUMBER = """
class TritonPythonModel:
    cold = True

    def execute(self, requests):
        for request in requests:
            sender, count = request.get_response_sender(), int(value(request))
            note(begun=count, parameters=json.loads(request.parameters() or "{}"))
            time.sleep(SLOW if self.cold else 0.005)
            TritonPythonModel.cold = False
            if count == 99:
                failed = pb.InferenceResponse(error=pb.TritonError("no 99"))
                sender.send(failed, flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                continue
            for number in range(count):
                time.sleep(0.05 if number else 0)
                sender.send(y(number))
            note(ended=count)
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""

# As many words as text_input says.
WORDS = """
class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender, count = request.get_response_sender(), int(value(request, "text_input"))
            note(asked=count)
            for number in range(count):
                word = np.array([b"w%d" % number], dtype=np.object_)
                sender.send(pb.InferenceResponse([pb.Tensor("text_output", word)]))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
TEXT = (
    'backend: "python"\ninput [ { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
    'output [ { name: "text_output" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
)

# The sum of a sequence's numbers so far; 13 is unlucky, but for who closes with it.
SUMS = """
class TritonPythonModel:
    def initialize(self, args):
        self.sums, self.cold = dict(), set(["start", "middle", "end"])

    def execute(self, requests):
        answers = []
        for request in requests:
            if not value(request, "READY"):  # of a place in the batch that nobody has
                answers.append(y(0))
                continue
            start, end = bool(value(request, "START")), bool(value(request, "END"))
            name = request.correlation_id()
            number = float(value(request))
            part = "start" if start else "end" if end else "middle"
            time.sleep(SLOW if part in self.cold else 0.005)
            self.cold.discard(part)
            if start:
                self.sums[name] = 0.0
            self.sums[name] += number
            total = self.sums[name]
            if end:
                del self.sums[name]
            note(id=name, start=start, end=end, x=number, open=len(self.sums))
            if number == 13 and not end:
                answers.append(pb.InferenceResponse(error=pb.TritonError("unlucky")))
            else:
                answers.append(y(total))
        return answers
"""
CONTROLS = """sequence_batching { max_sequence_idle_microseconds: 60000000 %s control_input [
  { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
  { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
  { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] }%s ] }
"""
DIRECT, OLDEST = "direct { }", "oldest { max_candidate_sequences: 4 }"


def sequences(strategy, id_type=None):
    """Return a batcher's configuration."""
    kind = f"kind: CONTROL_SEQUENCE_CORRID data_type: {id_type}"
    return CONTROLS % (strategy, f', {{ name: "ID" control [ {{ {kind} }} ] }}' if id_type else "")


def add(repository, name, config, code):
    """Add a model to a ``Repository``."""
    folder = repository.add(name, config)
    (folder / "1" / "model.py").write_text(NOTE.replace("{model}", name) + code)


def tensor(number, width=4):
    return Tensor("X", "FP32", np.full((1, width), number, np.float32))


def ask(number, *, protocol="v2", width=4, **parameters):
    """Return a sample whose X is ``number``."""
    if protocol == "v2":
        item = {"name": "X", "datatype": "FP32", "shape": [1, width], "data": [float(number)] * width}
        body = {"inputs": [item]} | ({"parameters": parameters} if parameters else {})
        return request("v2", json.dumps(body).encode())
    body, headers = encode(protocol, [tensor(number, width)])
    return request(protocol, body, headers=headers)


def generate(text, verb, **more):
    """Return a sample of Triton's ``generate``."""
    return request("v1", json.dumps({"text_input": text, **more}).encode(), path=f"/v2/models/m/{verb}")


def save(folder, model, *samples):
    """Save a set of samples, each of which stands for an equal part of the traffic."""
    return SampleSet(model, tuple(one.with_weight(1 / len(samples)) for one in samples)).save(folder / model)
