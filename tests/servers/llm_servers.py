"""Servers of language models; the model of all is the tiny random Llama of ``tiny_llama.py``."""

import json
import random
import shutil
import subprocess
from keyword import kwlist
from pathlib import Path
from tempfile import mkdtemp

from real_server import ROOT, RealServer

from kserve_warmup.protocols.bodies import request

ENVIRONMENT = "vllm"
LLAMA = ROOT / f".venv-{ENVIRONMENT}" / "tiny_llama"
"""Made once by the first that needs it; what is served under this name too."""

MAKER = Path(__file__).with_name("tiny_llama.py")
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}

KINDS = {
    "chat": {},
    "stream": {"stream": True},
    "structured": {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}},
}


def chat(kind):
    """Return what makes the chat number i of a kind."""

    def made(number):
        said = " ".join(random.Random(f"{kind} {number}").choices(kwlist, k=10))
        body = {"model": str(LLAMA), "messages": [{"role": "user", "content": said}], "max_tokens": 16}
        raw = json.dumps(body | {"temperature": 0} | KINDS[kind]).encode()
        return request("openai", raw, path="/v1/chat/completions")

    return made


def mixed(*kinds):
    """Return what makes the chat number i of traffic in which kinds take turns."""
    return lambda number: chat(kinds[number % len(kinds)])(number)


def make_llama(place):
    """Make the model, unless it is there: in a folder that gets its name once it is whole."""
    made = LLAMA / "model.safetensors"
    if made.is_file() and made.stat().st_mtime >= MAKER.stat().st_mtime:
        return
    folder = mkdtemp(dir=LLAMA.parent)
    subprocess.run([place.bin / "python", MAKER, folder], check=True, env={"HF_HUB_OFFLINE": "1"})
    shutil.rmtree(LLAMA, ignore_errors=True)
    Path(folder).rename(LLAMA)


def vllm():
    """Return vLLM's CPU build, which compiles the model when it starts and much of its Python with the first chats."""
    return RealServer(
        name="vLLM",
        environment=ENVIRONMENT,
        command=lambda place: [
            *(place.bin / "vllm", "serve", LLAMA, "--host=127.0.0.1", f"--port={place.http}"),
            *("--max-model-len=1024", "--dtype=float32"),
        ],
        variables=lambda place: {
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CACHE_ROOT": str(place.folder),
            "VLLM_NO_USAGE_STATS": "1",
        },
        prepare=make_llama,
        requests={kind: chat(kind) for kind in KINDS} | {"traffic": mixed(*KINDS)},
        ready="/health",
        model="tiny",
        package="vllm-cpu",
    )


def transformers():
    """Return ``transformers serve``, which knows no structured output."""
    return RealServer(
        name="transformers serve",
        environment=ENVIRONMENT,
        command=lambda place: [
            *(place.bin / "transformers", "serve", LLAMA, "--host=127.0.0.1", f"--port={place.http}"),
        ],
        variables=lambda place: {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place.folder), "OMP_NUM_THREADS": "1"},
        prepare=make_llama,
        requests={kind: chat(kind) for kind in ("chat", "stream")} | {"traffic": mixed("chat", "stream")},
        ready="/health",
        model="tiny",
        package="transformers",
        lists_models=False,  # but what a hub's cache holds
    )
