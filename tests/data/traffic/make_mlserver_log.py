"""Write mlserver_v2.jsonl with MLServer's own types and codecs: pip install mlserver."""

from pathlib import Path

import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

requests = [
    NumpyRequestCodec.encode_request(np.array([[0.5, 1.5]], np.float32)),
    PandasCodec.encode_request(pd.DataFrame({"age": [34, 51], "score": [0.5, 1.5]})),
    InferenceRequest(id="7", inputs=[StringCodec.encode_input("text", ["a", "b"], use_bytes=False)]),
]
response = InferenceResponse(model_name="m", outputs=[NumpyCodec.encode_output("y", np.array([1.0]))])
lines = [request.model_dump_json() for request in requests]
lines.append('{"inference_request": ' + lines[0] + ', "time": "2026-05-01T08:00:00Z"}')
lines.append('{"inference_response": ' + response.model_dump_json() + "}")
(Path(__file__).parent / "mlserver_v2.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
