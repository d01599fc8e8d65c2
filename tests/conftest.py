"""What all tests share: the tritonserver that `make triton-env` has made, unless another one is named."""

import os
from pathlib import Path

os.environ.setdefault("KSERVE_WARMUP_TRITON_ENV", str(Path(__file__).parents[1] / ".venv-triton"))
