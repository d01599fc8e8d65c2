"""Put silero-vad's weights into a model repository: ``python -m kserve_warmup.demo.fetch model_repository``.

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
WEIGHTS = {"silero_vad": "silero_vad.onnx", "silero_vad_jit": "silero_vad.jit"}
"""The file that each of the models loads, by its name in the wheel and in the repository."""


def fetch(repository: Path) -> list[Path]:
    """Return the paths of the weights in the repository, after downloading those that are not there yet.

    Raises:
        WarmupError: pip could not download the package.
    """
    models = [model for model in WEIGHTS if (repository / model).is_dir()]
    targets = [repository / model / "1" / WEIGHTS[model] for model in models]
    missing = [target for target in targets if not target.is_file()]
    if missing:
        with tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder, _wheel(Path(folder)) as archive:
            for target in missing:
                partial = target.with_suffix(".partial")
                partial.write_bytes(archive.read(f"silero_vad/data/{target.name}"))
                partial.replace(target)
    return targets


def _wheel(folder: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--dest={folder}"]
    # -m looks in the current folder first
    done = subprocess.run([*command, REQUIREMENT], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WarmupError(f"cannot download silero-vad: {reason}; check pip's access to a package index")
    return zipfile.ZipFile(next(folder.glob("*.whl")))


if __name__ == "__main__":
    for path in fetch(Path(sys.argv[1])):
        sys.stdout.write(f"{path}\n")
