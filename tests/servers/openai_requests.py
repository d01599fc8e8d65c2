"""KServe's OpenAI models on a real server of KServe's, what they are asked, and what they say of it."""

import json
import re

from real_server import PROGRAMS, ROOT, RealServer

from kserve_warmup.protocols.bodies import request
from kserve_warmup.sampling.select import select
from kserve_warmup.transports.http import Address, fetch_now

JSON = {"content-type": "application/json"}
PATHS = {"messages": "chat/completions", "prompt": "completions", "input": "embeddings", "documents": "rerank"}


def kserve_openai(classes, *, samples=None, options=(), **variables):
    """Return KServe with models of ``programs/openai_models.py``; a control is told with CONTROL=1."""

    def environment(place):
        given = {"PYTHONPATH": f"{ROOT}:{PROGRAMS}", "GATE": str(place.folder / "gate"), **variables}
        return given | ({"KSERVE_WARMUP_SAMPLES": str(samples)} if samples else {})

    def command(place):
        ports = ["--http_port", place.http, "--grpc_port", place.grpc]
        return [place.bin / "python", PROGRAMS / "openai_models.py", classes, *ports, *options]

    return RealServer(
        name=f"KServe's OpenAI models {classes}",
        environment="kserve-openai",
        command=command,
        variables=environment,
        requests={},
        ready="/v2/models/model/ready",
        model="model",
        package="kserve",
    )


def chat(text, **fields):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 8, **fields}


def generative(*extra):
    """Return what chat models are asked."""
    return [chat("hello"), chat("hello", stream=True), {"prompt": "once"}, *extra]


def encoding():
    """Return what encoders are asked."""
    return [{"input": ["one text"]}, {"query": "which", "documents": ["one text"]}]


def sample_set(folder, documents, model="model"):
    """Write a set as other servers' traffic makes it: under another model's name, and at vLLM's paths."""
    made = []
    for document in documents:
        body = json.dumps({"model": "elsewhere", **document}).encode()
        path = next(path for field, path in PATHS.items() if field in document)
        made.append(request("openai", body, headers=JSON, path=f"/v1/{path}"))
    select(made, model).save(folder)
    return folder


def post(served, document, model="model", headers=JSON):
    """Ask as a client does; return the status and the body."""
    path = next(path for field, path in PATHS.items() if field in document)
    body = json.dumps({"model": model, **document}).encode()
    return _fetch(served, "POST", f"/openai/v1/{path}", headers, body)


def status(served, path):
    """Return the status of a GET."""
    return _fetch(served, "GET", path, {}, None)[0]


def _fetch(served, method, path, headers, body):
    answer = fetch_now(Address.parse(served.http_url), method, path, headers, body, seconds=60)
    return answer.status, answer.body


_SAID = re.compile(rb'\{\\*"before.*?\]\}')


def said(served, document, model="model", headers=JSON):
    """Ask, and return what the model says of itself; a failure is the test's."""
    code, body = post(served, document, model, headers)
    assert code == 200, body
    return json.loads(_SAID.search(body)[0].replace(b"\\", b""))
