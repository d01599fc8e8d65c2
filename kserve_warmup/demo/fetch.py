"""Put silero-vad's weights into the model repository: ``python -m kserve_warmup.demo.fetch model_repository``.

They are 2.3 MB of the package ``silero-vad`` (MIT), which itself would bring torch along; so only its wheel (11 MB) is
downloaded, and one file taken out of it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from kserve_warmup.errors import WarmupError

REQUIREMENT = "silero-vad>=5.1,<7"
MEMBER = "silero_vad/data/silero_vad.onnx"


def fetch(repository: Path) -> Path:
    """Return the weights' path in the repository, after downloading them when they are not there yet.

    Raises:
        WarmupError: pip could not download the package.
    """
    target = repository / "silero_vad" / "1" / "silero_vad.onnx"
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
        done = subprocess.run([*command, REQUIREMENT], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise WarmupError(f"cannot download silero-vad: {reason}; check pip's access to a package index")
        wheel = next(Path(folder).glob("*.whl"))
        partial = target.with_suffix(".partial")
        with zipfile.ZipFile(wheel) as archive:
            partial.write_bytes(archive.read(MEMBER))
    partial.replace(target)
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{fetch(Path(sys.argv[1]))}\n")
