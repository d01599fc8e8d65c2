"""Which paths a sample may name, and that nothing but inference by the model at hand comes of them."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from kserve import ModelServer
from kserve.protocol.rest.v1_endpoints import register_v1_endpoints
from kserve.protocol.rest.v2_endpoints import register_v2_endpoints
from starlette.routing import Match
from strategies import v1_sample

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import request
from kserve_warmup.protocols.inference_path import InferencePath, recorded, url_name
from kserve_warmup.samples.sample import DEFAULT_PATHS, PROTOCOLS
from kserve_warmup.transports.endpoints import ready_path

HTTP_PROTOCOLS = tuple(p for p in PROTOCOLS if p != "grpc")
ROOTS = {"v1", "v2"}
BEHIND_THE_ROOT = re.compile(
    r"v1/models/NAME(/versions/[\w.-]+)?:(predict|explain)"
    r"|v2/models/NAME(/versions/[\w.-]+)?/(infer|generate|generate_stream)"
    r"|v1/(chat/completions|completions|embeddings|rerank|responses|messages|score)|v2/rerank"
    r"|(rerank|score|classify|pooling)"
)

LEGITIMATE = [
    ("v1", "/v1/models/{model}:predict", "predict"),
    ("v1", "/v1/models/{model}:explain", "explain"),
    ("v1", "/v1/models/{model}/versions/3:predict", "predict"),
    ("v1", "/gateway/ns-1/v1/models/{model}:explain", "explain"),
    ("v2", "/v2/models/{model}/infer", "infer"),
    ("v2-binary", "/v2/models/{model}/versions/12/infer", "infer"),
    ("v2", "/seldon/ns/name/v2/models/{model}/infer", "infer"),
    ("v2", "/v2/models/{model}/versions/v1.2-rc/infer", "infer"),
    ("v2", "/v2/models/{model}/generate", "generate"),
    ("openai", "/v2/models/{model}/versions/1/generate_stream", "generate_stream"),
    ("openai", "/openai/v1/chat/completions", "v1/chat/completions"),
    ("openai", "/v1/completions", "v1/completions"),
    ("openai", "/openai/v1/embeddings", "v1/embeddings"),
    ("openai", "/openai/v1/rerank", "v1/rerank"),
    ("openai", "/rerank", "rerank"),
    ("openai", "/v1/responses", "v1/responses"),
    ("grpc", "/inference.GRPCInferenceService/ModelInfer", "ModelInfer"),
]

POISONED = [
    "/v2/repository/models/x/unload",
    "/v2/repository/models/{model}/load",
    "/v2/repository/index",
    "/v2/models/{model}",
    "/v2/models/{model}/config",
    "/v2/models/{model}/trace/setting",
    "/v2/models/{model}/infer/..",
    "/v2/models/{model}/infer/",
    "/v2/models/{model}/infer?x=/v2/repository/models/x/unload",
    "/v2/models/{model}/infer#",
    "/v2/models/{model}/infer;x",
    "/v2/models/{model}/infer\n",
    "/v2/models/{model}/infer/versions/3",
    "/v2/models/{model}/versions/../infer",
    "/v2/models/{model}/versions/%2e%2e/infer",
    "/v2/models/{model}/versions//infer",
    "/v2/models/x/infer",
    "/v2/models/../models/{model}/infer",
    "/v2/models/other/infer/v2/models/{model}/infer",
    "/v2/models/other/infer/v1/models/{model}:predict",
    "/v2/repository/models/x/unload/v2/models/{model}/infer",
    "/v2/repository/models/x/unload/../v1/models/{model}:predict",
    "/V2/repository/models/x/unload/v1/models/{model}:predict",
    "/v2/repository/models/x/unload%3F/v1/models/{model}:predict",
    "/v2%2frepository/v1/models/{model}:predict",
    "/%2e%2e/v1/models/{model}:predict",
    "/..;/v1/models/{model}:predict",
    "/.../v1/models/{model}:predict",
    "/a/./v1/models/{model}:predict",
    "/a//v1/models/{model}:predict",
    "//evil/v1/models/{model}:predict",
    "/\\evil/v1/models/{model}:predict",
    "/a b/v1/models/{model}:predict",
    "/a\tb/v1/models/{model}:predict",
    "/a@b:80/v1/models/{model}:predict",
    "/é/v1/models/{model}:predict",
    "http://evil/v1/models/{model}:predict",
    "x/v1/models/{model}:predict",
    "v1/models/{model}:predict",
    "/v1/models/{model}:classify",
    "/v1/models/{model}:predict:explain",
    "/v1/models/{model}",
    "/v1/models",
    "/v1/load_lora_adapter",
    "/v1/files",
    "/v1/fine_tuning/jobs",
    "/v1/x/rerank",
    "/v1/chat/completions/v1/completions",
    "/sleep",
    "/metrics",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
    "/x/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelInfer/",
    "{model}",
    "/",
    "",
]


@pytest.mark.parametrize(("protocol", "path", "verb"), LEGITIMATE)
def test_an_inference_endpoint_comes_back_exactly_and_tells_its_verb(protocol, path, verb):
    parsed = InferencePath.parse(path, protocol)
    assert (parsed.template, parsed.verb) == (path, verb)
    assert parsed.url_path("iris") == path.replace("{model}", "iris")
    assert recorded(path.replace("{model}", "some-model")) == parsed
    sample = replace(v1_sample(1, 1, 1), protocol=protocol, path=path)
    assert sample.verb == verb


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("path", POISONED)
def test_nothing_else_is_an_inference_endpoint_of_any_protocol(path, protocol):
    with pytest.raises(SampleError) as caught:
        InferencePath.parse(path, protocol)
    assert "\n" not in str(caught.value)
    with pytest.raises(SampleError):
        replace(v1_sample(1, 1, 1), protocol=protocol, path=path).endpoint  # noqa: B018


@pytest.mark.parametrize(
    ("protocol", "path"),
    [
        ("v1", "/v2/models/{model}/infer"),
        ("v2", "/v1/models/{model}:predict"),
        ("v2-binary", "/v2/models/{model}/generate"),
        ("openai", "/v2/models/{model}/infer"),
        ("v1", "/openai/v1/chat/completions"),
        ("grpc", "/v1/models/{model}:predict"),
        ("v2", DEFAULT_PATHS["grpc"]),
        ("v9", "/v2/models/{model}/infer"),
    ],
)
def test_an_endpoint_takes_the_bodies_of_its_own_protocols_alone(protocol, path):
    with pytest.raises(SampleError, match="is no inference endpoint for"):
        InferencePath.parse(path, protocol)


def test_a_grpc_sample_calls_model_infer_whatever_its_recorder_called_it():
    sample = replace(v1_sample(1, 1, 1), protocol="grpc", path="/v2/models/{model}/versions/3/infer")
    assert sample.path_for("iris") == DEFAULT_PATHS["grpc"]


@pytest.mark.parametrize(
    "parts",
    [
        ("v2", "unload"),
        ("v2", "infer", ".."),
        ("v2", "infer", "1/../../../repository/models/x/unload#"),
        ("v2", "infer", None, "/v2/repository/models/x/unload"),
        ("v2", "infer", None, "//evil"),
        ("v2", "infer", None, "evil"),
        ("v2", "infer", None, "/evil/"),
        ("v2", "infer", None, "/evil\n"),
        ("openai", "v1/completions", "3"),
        ("grpc", "ModelInfer", None, "/x"),
        ("v3", "infer"),
    ],
)
def test_parts_put_together_by_hand_make_no_other_path_either(parts):
    with pytest.raises(SampleError, match="make no inference path"):
        InferencePath(*parts)


PIECES = st.sampled_from(
    [
        *(
            "/",
            "//",
            "/v1",
            "/v2",
            "/V2",
            "v2",
            "/models",
            "/models/",
            "{model}",
            "/repository",
            "/x",
            "/unload",
            "/load",
        ),
        *("/infer", "/infer/", ":predict", ":explain", "/generate", "/versions/", "/versions/3", "/versions/..", "/.."),
        *(
            "..",
            ".",
            "%2e",
            "%2F",
            "%2e%2e",
            ";",
            ";x",
            "?",
            "#",
            "\\",
            "/openai",
            "/chat",
            "/chat/completions",
            "/rerank",
        ),
        *("/completions", "/score", "http://h", "\n", " ", "\x00", "é", "@", "/seldon/ns/name", "/a.b", "/...", "/~"),
        *(
            "/v1/models/{model}:predict",
            "/v2/models/{model}/infer",
            "/openai/v1/completions",
            "/v2/repository/models/x/",
        ),
    ]
)
ENDINGS = st.sampled_from(["", *(path for _, path, _ in LEGITIMATE)])
PATHS = st.builds(
    lambda pieces, end, after: "".join(pieces) + end + after,
    st.lists(PIECES, max_size=6),
    ENDINGS,
    st.just("") | PIECES,
)
NAMES = st.text(max_size=12) | st.lists(PIECES, max_size=5).map("".join)


@given(PATHS, st.sampled_from(PROTOCOLS), NAMES)
@example("/a/v2/models/{model}/infer", "v2", "../repository/models/x/unload#")
def test_whatever_is_accepted_builds_to_one_api_root_and_an_inference_endpoint_behind_it(path, protocol, model):
    try:
        parsed = InferencePath.parse(path, protocol)
        sent = parsed.url_path(model)
    except SampleError:
        return
    assert parsed.template == path
    assert sent.isascii()
    assert not set(sent) & set(" ?#;\\\r\n\x00")
    named = "{model}" in path
    marked = parsed._built("NAME")
    assert sent == marked.replace("NAME", url_name(model)) if named else sent == path
    if protocol == "grpc" and parsed.api == "grpc":
        assert sent == DEFAULT_PATHS["grpc"]
        return
    # No server and no proxy reads it as another path: there is nothing to normalise or to decode but the model's name.
    assert posixpath.normpath(marked) == unquote(marked) == marked
    assert marked[0] == "/" != marked[1]
    segments = marked[1:].split("/")
    roots = [n for n, segment in enumerate(segments) if segment.lower() in ROOTS]
    assert len(roots) <= 1
    ends = [n for n in range(len(segments)) if BEHIND_THE_ROOT.fullmatch("/".join(segments[n:]))]
    assert ends
    assert roots in ([], [min(ends)])


@given(NAMES)
@example("..")
@example("../repository/models/x/unload#")
@example("%2e%2e")
@example("a@b")
def test_a_models_name_is_one_segment_that_is_read_back_as_the_same_name(model):
    try:
        segment = url_name(model)
    except SampleError:
        return
    assert unquote(segment) == model
    assert re.fullmatch(r"(?!\.+$)[A-Za-z0-9._~%!$&'()*+,=:@-]+", segment)
    assert not re.search(r"%(2f|5c|0|1)", segment, re.IGNORECASE)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "a/b", "a\\b", "a\nb", "\x7f", "%2e%2e", "a%2Fb", "\ud800", "a\u2028b"]
)
def test_a_name_that_no_path_can_carry_is_refused_in_one_line(name):
    with pytest.raises(SampleError, match="no server has a model called") as caught:
        url_name(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["iris", "my-model_1.0", "a b", "50%", "modèle", "a@b", "a+b", "a:b", "{model}"])
def test_names_that_servers_have_are_accepted(name):
    assert unquote(url_name(name)) == name


@pytest.fixture(scope="module")
def kserve_routes():
    """The routes of KServe's own application, with the management ones."""
    server, made = ModelServer(), FastAPI()
    register_v1_endpoints(made, server.dataplane, None)
    register_v2_endpoints(made, server.dataplane, server.model_repository_extension)
    parts = [part.original_router for part in made.routes if hasattr(part, "original_router")]
    routes = [route for part in parts or [made] for route in part.routes]
    assert "/v2/repository/models/{model_name}/unload" in {route.path for route in routes}
    return routes


@given(path=PATHS, protocol=st.sampled_from(HTTP_PROTOCOLS), model=NAMES)
@example("/v2/models/{model}/infer", "v2", "x")
@example("/v1/models/{model}:explain", "v1", "x")
def test_kserve_routes_what_is_sent_to_inference_of_the_model_or_nowhere(kserve_routes, path, protocol, model):
    try:
        sent = unquote(InferencePath.parse(path, protocol).url_path(model))  # as uvicorn does
    except SampleError:
        return
    scope = {"type": "http", "method": "POST", "path": sent, "root_path": "", "headers": []}
    for route in kserve_routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            assert child["endpoint"].__name__ in ("predict", "explain", "infer")
            assert child["path_params"]["model_name"] == model
            return


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/models/iris:predict", "v1"),
        ("https://user:secret@host/v1/models/iris:predict?key=1#x", "v1"),
        ("/v1/models/my model:predict", "v1"),
        ("/v1/models/mod%C3%A8le:predict", "v1"),
        ("/v1/models/a:b:predict", "v1"),
    ],
)
def test_a_recorded_path_loses_host_query_and_the_models_name(path, name):
    assert recorded(path, name).template == "/v1/models/{model}:predict"


@pytest.mark.parametrize(
    "path",
    [p for p in POISONED if not re.match(r"http:|.*[?#]|.*:predict:explain|/v2/models/x/infer", p)]
    + ["/v2/models/../infer", "/v2/models/%2e%2e/infer", "/v2/models/a%2F..%2Funload/infer", "/v2/models/a\nb/infer"],
)
def test_a_recorded_path_that_is_no_inference_makes_no_sample(path):
    with pytest.raises(SampleError):
        recorded(path)
    with pytest.raises(SampleError):
        request("v1", b'{"instances":[1]}', path=path)


def test_a_model_whose_name_no_path_can_carry_is_refused_before_anything_is_sent():
    chat = request("openai", json.dumps({"messages": []}).encode())
    assert ready_path([chat], "meta-llama/Llama") == "/openai/v1/models"
    with pytest.raises(SampleError, match="meta-llama/Llama"):
        ready_path([chat, v1_sample(1, 1, 1)], "meta-llama/Llama")
    with pytest.raises(SampleError, match="unload#"):
        ready_path([], "../repository/models/x/unload#")


def test_the_ready_endpoint_is_that_of_the_api_that_is_called():
    generate = request("openai", json.dumps({"prompt": "x"}).encode(), path="/v2/models/llm/generate")
    assert ready_path([generate], "llm") == "/v2/models/llm/ready"
    assert ready_path([v1_sample(1, 1, 1)], "a b") == "/v1/models/a%20b"
    assert (
        ready_path([replace(v1_sample(1, 1, 1), protocol="grpc", path=DEFAULT_PATHS["grpc"])], "m")
        == "/v2/models/m/ready"
    )
