"""MLServer's custom runtime."""

import json

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse
from neighbours import Neighbours


class Runtime(MLModel):
    async def load(self):
        self.neighbours = Neighbours()
        return True

    async def predict(self, payload):
        answer = self.neighbours.answer(NumpyCodec.decode_input(payload.inputs[0]))
        output = StringCodec.encode_output("answer", [json.dumps(answer)])
        return InferenceResponse(model_name=self.name, outputs=[output])
