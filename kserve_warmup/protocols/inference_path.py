"""The inference endpoints: the only paths that a sample may name, and the only ones that are ever called.

A recorded path is data, and data never commands. So it is taken apart into what it may say (which of the endpoints
below, which version, behind which prefix), and what is sent is built anew from that and the model's name. A server's
other endpoints, such as the ones that load and unload models, have no form here and cannot be asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote

from kserve_warmup.errors import SampleError

MODEL_PLACEHOLDER = "{model}"
"""Stands in a path for the model's name, so that a set recorded on one model warms another."""

_IN_NAMES = "!$&'()*+,=:@"
"""Characters of a name that stand in a path as they are: tritonserver does not decode paths, and finds ``a@b`` by no
other spelling. A semicolon is one too, but some servers cut a segment there."""

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
"""The only method that is ever called over gRPC with a sample."""

Api = Literal["v1", "v2", "openai", "grpc"]

_PREDICT = frozenset({"predict", "explain"})
_INFER = frozenset({"infer"})
_GENERATE = frozenset({"generate", "generate_stream"})
_OPENAI = frozenset(
    {
        # KServe's (rest/openai/endpoints.py:262 of 0.21), then vLLM's
        *("v1/chat/completions", "v1/completions", "v1/embeddings", "v1/rerank"),
        *("v1/responses", "v1/messages", "v1/score", "v2/rerank", "rerank", "score", "classify", "pooling"),
    }
)
_GRPC = frozenset({"ModelInfer"})

_VERBS: dict[Api, frozenset[str]] = {"v1": _PREDICT, "v2": _INFER | _GENERATE, "openai": _OPENAI, "grpc": _GRPC}

_OF_PROTOCOL: dict[str, dict[Api, frozenset[str]]] = {
    # a body for Triton's generate is JSON of any kind, and is taken for what it looks like
    "v1": {"v1": _PREDICT, "v2": _GENERATE},
    "raw": {"v1": _PREDICT},
    "v2": {"v2": _INFER | _GENERATE},
    "v2-binary": {"v2": _INFER},
    "openai": {"openai": _OPENAI, "v2": _GENERATE},
    # some recorders name a gRPC message by the REST path of the same model; ModelInfer is called all the same
    "grpc": {"grpc": _GRPC, "v2": _INFER},
}

# A prefix is what a gateway in front takes off. It has nothing to decode, no empty or dotted segment to normalise, and
# no API root: a server that looked for its routes anywhere in a path would find the one at the end alone.
_SEGMENT = r"/(?!\.*(?:/|$)|[vV][12](?:/|$))[A-Za-z0-9._~-]+"
_PREFIX = re.compile(rf"(?:{_SEGMENT})*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


_TEMPLATES: dict[Api, str] = {
    "v1": "/v1/models/{model}{version}:{verb}",
    "v2": "/v2/models/{model}{version}/{verb}",
    "openai": "/{verb}",
    "grpc": MODEL_INFER.replace("ModelInfer", "{verb}"),
}


def _form(api: Api, template: str) -> re.Pattern[str]:
    """Return the pattern of an API's paths."""
    parts = {
        "{model}": "(?P<model>[^/]+?)",
        "{version}": f"(?:/versions/(?P<version>{_VERSION.pattern}))?",
        "{verb}": f"(?P<verb>{'|'.join(sorted(_VERBS[api]))})",
    }
    path = re.escape(template)
    for name, part in parts.items():
        path = path.replace(re.escape(name), part)
    return re.compile(path if api == "grpc" else f"(?P<prefix>{_PREFIX.pattern}){path}")


_FORMS = {api: _form(api, template) for api, template in _TEMPLATES.items()}


@dataclass(frozen=True, slots=True)
class InferencePath:
    """An inference endpoint of whichever model is at hand.

    Attributes:
        api: whose endpoint it is.
        verb: what is asked of the model: ``predict`` or ``explain`` (v1); ``infer``, ``generate`` or
            ``generate_stream`` (v2); ``ModelInfer`` (gRPC); the route, such as ``v1/chat/completions`` (OpenAI).
        version: of the model, as v1 and v2 have it in the path; None: the server chooses.
        prefix: what stands before the API's root: empty, or ``/`` and segments of letters, digits and ``._~-``.
    """

    api: Api
    verb: str
    version: str | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        """Refuse parts that could make another path than an inference endpoint's."""
        versioned = self.api in ("v1", "v2") and self.version is not None and _VERSION.fullmatch(self.version)
        prefixed = self.api != "grpc" and _PREFIX.fullmatch(self.prefix)
        if (
            self.verb not in _VERBS.get(self.api, ())
            or not (self.version is None or versioned)
            or not (self.prefix == "" or prefixed)
        ):
            raise SampleError(f"{self.prefix!r}, {self.api!r}, {self.version!r}, {self.verb!r} make no inference path")

    @classmethod
    def parse(cls, path: str, protocol: str) -> InferencePath:
        """Return the parts of a sample's path; :attr:`template` gives exactly ``path`` back.

        Raises:
            SampleError: it is not an inference endpoint that takes bodies of ``protocol``, or has another name in it
                than ``{model}``.
        """
        parsed, model = _parsed(path, protocol)
        if model not in (None, MODEL_PLACEHOLDER):
            raise SampleError(f"path {path[:80]!r} names a model: a sample's path has {MODEL_PLACEHOLDER} in its place")
        return parsed

    @property
    def template(self) -> str:
        """Return the path with ``{model}`` for the model's name."""
        return self._built(MODEL_PLACEHOLDER)

    def url_path(self, model: str) -> str:
        """Return the path to send to, for ``model``.

        Raises:
            SampleError: the name cannot stand in a path that has one.
        """
        return self._built(url_name(model) if MODEL_PLACEHOLDER in _TEMPLATES[self.api] else "")

    def ready_path(self, model: str) -> str:
        """Return where a server that has this endpoint says over HTTP whether ``model`` is ready.

        Raises:
            SampleError: the name cannot stand in a path that has one.
        """
        if self.api == "openai":  # it has no readiness: its list of models is answered once they are loaded
            return f"{self.prefix}/v1/models"
        return f"/v1/models/{url_name(model)}" if self.api == "v1" else f"/v2/models/{url_name(model)}/ready"

    def _built(self, name: str) -> str:
        version = "" if self.version is None else f"/versions/{self.version}"
        path = _TEMPLATES[self.api].replace("{version}", version).replace("{verb}", self.verb)
        return self.prefix + path.replace(MODEL_PLACEHOLDER, name)


@lru_cache(maxsize=1024)  # traffic repeats its paths
def recorded(path: str, protocol: str | None = None) -> InferencePath:
    """Return the endpoint that a recorded request was sent to; host, query and the model's name are cut.

    Args:
        path: a path, or a URL, whose query may hold secrets.
        protocol: how the body is encoded; None: not known yet.

    Raises:
        SampleError: it is no inference endpoint.
    """
    parsed, model = _parsed(bare_path(path), protocol)
    if model is not None:
        url_name(unquote(model))
    return parsed


def bare_path(path: str) -> str:
    """Return the path of a path or URL, without host, query and fragment."""
    return re.sub(r"^https?://[^/]*", "", path).partition("#")[0].partition("?")[0]


def url_name(model: str) -> str:
    """Return a model's name as a segment of a URL's path, which servers read back as one and the same name.

    Raises:
        SampleError: there is no such segment: the name is empty or dots alone, has a slash, a backslash or a control
            character, or becomes another name when a proxy decodes it once more.
    """
    if not model.strip(".") or not model.isprintable() or "/" in model or "\\" in model or unquote(model) != model:
        msg = f"no server has a model called {model[:80]!r} in its paths: name it in letters, digits, dots and dashes"
        raise SampleError(msg)
    return quote(model, safe=_IN_NAMES)


@lru_cache(maxsize=1024)
def _parsed(path: str, protocol: str | None) -> tuple[InferencePath, str | None]:
    """Return the parts of a path and what stands in it for the model, None where nothing does."""
    allowed = _VERBS if protocol is None else _OF_PROTOCOL.get(protocol, {})
    for api, form in _FORMS.items():
        if (match := form.fullmatch(path)) and match["verb"] in allowed.get(api, ()):
            parts = match.groupdict()
            return InferencePath(api, parts["verb"], parts.get("version"), parts.get("prefix") or ""), parts.get(
                "model"
            )
    whose = f" for {protocol} requests" if protocol else ""
    raise SampleError(f"path {path[:80]!r} is no inference endpoint{whose}, and nothing else is ever called")
