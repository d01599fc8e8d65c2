"""What of a body takes another path through a server, whatever names, types and shapes its inputs have.

Each function looks at a body that is parsed already, at its few fields that choose a path and never at its numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Variant = tuple[tuple[str, str], ...]
"""Names of path-choosing facts and their values, ordered by name; a fact that is as usual is not in it."""

MODEL = "model"
"""The fact that names an OpenAI request's model or adapter; it chooses no path where all traffic names the same."""

_LONGEST = 80
_SEQUENCE = ("sequence_start", "sequence_end")
_ADAPTERS = ("lora_name", "lora_path", "adapter_id")
_GRAMMARS = ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar")
_MEDIA = {
    "image": ("image", "image_url", "input_image", "image_pil", "image_embeds"),
    "audio": ("audio", "audio_url", "input_audio"),
    "video": ("video", "video_url"),
    "file": ("file", "input_file", "document"),
}
_KINDS = {kind: media for media, kinds in _MEDIA.items() for kind in kinds}


def v1_variant(document: Mapping[str, Any]) -> Variant:
    """Return the signature that a v1 body asks TensorFlow Serving for, where it is not the default one."""
    name = document.get("signature_name")
    return _variant({"signature_name": None if name == "serving_default" else name})


def v2_variant(document: Mapping[str, Any]) -> Variant:
    """Return the sequence flags and the adapter that a v2 body's parameters have."""
    parameters = document.get("parameters")
    return _parameters(parameters) if isinstance(parameters, dict) and parameters else ()


def grpc_variant(message: Any) -> Variant:
    """Return what :func:`v2_variant` does, and the version that a ``ModelInferRequest`` asks for."""
    found = {name: _value(message.parameters[name]) for name in message.parameters}
    return _parameters(found, version=message.model_version or None) if found or message.model_version else ()


def openai_variant(document: Mapping[str, Any]) -> Variant:
    """Return model or adapter, streaming, the format of the answer, tools, log probabilities and media in messages."""
    facts: dict[str, Any] = {
        MODEL: document.get("model"),
        "lora": _adapter(document),
        "stream": document.get("stream") is True,
        "response_format": _response_format(document),
        "tools": _tools(document),
        "media": "+".join(sorted(set(_media(document)))),
    }
    for name in ("logprobs", "prompt_logprobs"):  # 0 asks for those of the chosen tokens
        facts[name] = document.get(name) is not None and document[name] is not False
    return _variant(facts)


def _parameters(parameters: Mapping[str, Any], version: str | None = None) -> Variant:
    flags = {name: parameters.get(name) is True for name in _SEQUENCE}
    return _variant({**flags, "lora": _adapter(parameters), "version": version})


def _value(parameter: Any) -> Any:
    which = parameter.WhichOneof("parameter_choice")
    return None if which is None else getattr(parameter, which)


def _adapter(fields: Mapping[str, Any]) -> str | None:
    return next((value for name in _ADAPTERS if isinstance(value := fields.get(name), str)), None)


def _response_format(document: Mapping[str, Any]) -> str | None:
    text = document.get("text")  # /v1/responses has it in there
    for wanted in (document.get("response_format"), text.get("format") if isinstance(text, dict) else None):
        kind = wanted.get("type") if isinstance(wanted, dict) else None
        if isinstance(kind, str) and kind != "text":
            return kind
    return next((name for name in _GRAMMARS if document.get(name)), None)


def _tools(document: Mapping[str, Any]) -> str | None:
    if not (document.get("tools") or document.get("functions")):
        return None
    choice = document.get("tool_choice", document.get("function_call"))
    if isinstance(choice, dict):
        return "named"
    return choice if isinstance(choice, str) else "auto"


def _media(document: Mapping[str, Any]) -> Iterator[str]:
    for messages in (document.get("messages"), document.get("input")):
        for message in messages if isinstance(messages, list) else ():
            content = message.get("content") if isinstance(message, dict) else None
            for part in content if isinstance(content, list) else ():
                kind = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind, str) and kind in _KINDS:
                    yield _KINDS[kind]


def _variant(facts: Mapping[str, Any]) -> Variant:
    """Return the facts that hold: texts as they are, true as ``true``; what no server takes for a fact is left out."""
    return tuple(sorted(_held(facts.items())))


def _held(facts: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for name, value in facts:
        if value is True:
            yield name, "true"
        elif isinstance(value, str) and value:
            yield name, _short(value)


def _short(value: str) -> str:
    """Return a value that can stand in tables and files: a very long one ends in a digest of the whole."""
    data = value.encode(errors="backslashreplace")
    if len(data) <= _LONGEST:
        return data.decode()
    return f"{data[:_LONGEST].decode(errors='ignore')}…{hashlib.blake2b(data, digest_size=4).hexdigest()}"
