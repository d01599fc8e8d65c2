"""What of a body takes another path through a server, whatever names, types and shapes its inputs have.

Each function looks at a body that is parsed already, at its few fields that choose a path and never at its numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

Variant = tuple[tuple[str, str], ...]
"""Names of path-choosing facts and their values, ordered by name; a fact that is as usual is not in it."""

SEQUENCE_START, SEQUENCE_END = "sequence_start", "sequence_end"
"""The facts that a request opens a sequence, and that it closes one."""

MODEL = "model"
"""The fact that names an OpenAI request's model or adapter; it chooses no path where all traffic names the same."""

ANSWER = "max_tokens"
"""The fact that tells how long an answer may be; it chooses no path, and tells how long a request takes."""

LENGTHS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Fields that say so; the first one that a request has counts."""

_CHOSEN = frozenset(
    {
        *("signature_name", "version", "sequence_start", "sequence_end", "lora", "outputs", "model", "stream"),
        *("response_format", "tools", "media", "logprobs", "prompt_logprobs", "temperature", "penalties", "logit_bias"),
        *("n", "beam_search", "echo", "suffix"),
    }
)
"""Facts that choose a path for sure; all others are open: what they are worth shows in the traffic as a whole."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:+/-]{0,31}")
_MOST_OPEN = 16
_SMALL = 1024
_LONGEST = 80
_MOST_LENGTH = 4**10
_SEQUENCE = (SEQUENCE_START, SEQUENCE_END)
_ADAPTERS = ("lora_name", "lora_path", "adapter_id")
_GRAMMARS = ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar")
_MEDIA = {
    "image": ("image", "image_url", "input_image", "image_pil", "image_embeds"),
    "audio": ("audio", "audio_url", "input_audio"),
    "video": ("video", "video_url"),
    "file": ("file", "input_file", "document"),
}
_DATA = frozenset({"instances", "inputs", "signature_name", "id"})
_TOLD = frozenset(
    {
        *(*_SEQUENCE, "sequence_id", *_ADAPTERS, *_GRAMMARS, "binary_data_output"),
        *("model", "stream", "stream_options", "response_format", "tools", "tool_choice", "functions", "function_call"),
        *("logprobs", "prompt_logprobs", "echo", "suffix", "n", "use_beam_search", "temperature", "logit_bias", "text"),
        *LENGTHS,
        *("messages", "prompt", "input", "query", "documents", "text_1", "text_2", "user", "id", "metadata"),
    }
)
"""Fields that other facts tell already, or that hold text and ids."""

_KINDS = {kind: media for media, kinds in _MEDIA.items() for kind in kinds}


def v1_variant(document: Any) -> Variant:
    """Return the signature that a v1 body asks TensorFlow Serving for, where it is not the default one."""
    if not isinstance(document, dict):
        return ()
    name = document.get("signature_name")
    asked = {"signature_name": None if name == "serving_default" else name}
    if len(document) == 1:
        return _variant(asked)
    return _variant(open_facts(document, _DATA) | asked)


def v2_variant(document: Mapping[str, Any]) -> Variant:
    """Return the sequence flags, the adapter and what else a v2 body's parameters have, and the outputs it wants."""
    parameters, outputs = document.get("parameters"), document.get("outputs")
    if not parameters and not outputs:
        return ()
    asked = {item.get("name") for item in _objects(outputs)}
    names = "+".join(sorted(name for name in asked if isinstance(name, str)))
    facts = _facts(parameters) | open_facts({"parameters": parameters}, _TOLD) if isinstance(parameters, dict) else {}
    return _variant(facts | {"outputs": names})


def grpc_variant(message: Any) -> Variant:
    """Return what :func:`v2_variant` does, and the version that a ``ModelInferRequest`` asks for."""
    if not (message.parameters or message.model_version or message.outputs):
        return ()
    which = {name: (value, value.WhichOneof("parameter_choice")) for name, value in message.parameters.items()}
    parameters = {name: getattr(value, choice) for name, (value, choice) in which.items() if choice}
    outputs = "+".join(sorted({item.name for item in message.outputs}))
    facts = {**_facts(parameters), **open_facts({"parameters": parameters}, _TOLD)}
    return _variant({**facts, "version": message.model_version, "outputs": outputs})


def openai_variant(document: Mapping[str, Any]) -> Variant:
    """Return model or adapter, streaming, the format of the answer, tools, log probabilities and media in messages.

    And how long the answer may be, rounded up to a power of four.
    """
    media = {_KINDS.get(str(part.get("type")), "") for part in _parts(document)}
    asked = {name: document.get(name) for name in ("logprobs", "prompt_logprobs")}  # 0: those of the chosen tokens
    facts = {
        MODEL: document.get("model"),
        "lora": _adapter(document),
        "stream": document.get("stream") is True,
        "response_format": _response_format(document),
        "tools": _tools(document),
        "media": "+".join(sorted(media - {""})),
        ANSWER: _answer_length(document),
    }
    facts |= {name: value is not None and value is not False for name, value in asked.items()}
    return _variant(open_facts(document, _TOLD) | facts | _sampling(document))


def is_open(name: str) -> bool:
    """Return whether a fact of this name may as well be data that differs in every request."""
    return name not in _CHOSEN


def open_facts(document: Mapping[str, Any], left_out: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return what beside its data may choose a path: words, what is true and, one level down, small numbers.

    Free text is none of these. Whether a key has few values, only the traffic as a whole can tell (``open_values``).
    """
    found: dict[str, str] = {}
    for key, value in document.items():
        if key in left_out or len(found) >= _MOST_OPEN:
            continue
        if isinstance(value, dict):
            for name, inner in list(value.items())[:_MOST_OPEN]:
                small = type(inner) is int and abs(inner) <= _SMALL
                if name not in left_out and (word := str(inner) if small else _word(inner)):
                    found[f"{key}.{name}"] = word
        elif word := _word(value):
            found[key if is_open(key) else f"$.{key}"] = word
    return found


def _word(value: Any) -> str | None:
    if value is True:  # and false is as usual, as it is where the key is missing
        return "true"
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _sampling(document: Mapping[str, Any]) -> dict[str, bool]:
    """Return what of a request's sampling runs other programs of an LLM server, whatever the numbers."""
    count = document.get("n")
    penalties = (document.get(f"{kind}_penalty") for kind in ("presence", "frequency", "repetition"))
    return {
        "temperature": bool(document.get("temperature")),
        "penalties": any(value not in (None, 0, 1) for value in penalties),
        "logit_bias": bool(document.get("logit_bias")),
        "n": type(count) is int and count > 1,
        "beam_search": document.get("use_beam_search") is True,
        "echo": document.get("echo") is True,
        "suffix": bool(document.get("suffix")),
    }


def _answer_length(document: Mapping[str, Any]) -> str | None:
    most = next((value for name in LENGTHS if type(value := document.get(name)) is int), 0)
    return str(4 ** (((min(most, _MOST_LENGTH) - 1).bit_length() + 1) // 2)) if most > 0 else None


def _facts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameters.get(name) is True for name in _SEQUENCE} | {"lora": _adapter(parameters)}


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
    return "named" if isinstance(choice, dict) else choice if isinstance(choice, str) else "auto"


def _parts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what messages consist of, where they are more than text."""
    messages = _objects(document.get("messages")) + _objects(document.get("input"))
    return [part for message in messages for part in _objects(message.get("content"))]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _variant(facts: Mapping[str, Any]) -> Variant:
    """Return the facts that hold: texts as they are, true as ``true``; what no server takes for a fact is left out."""
    texts = {name: "true" if value is True else value for name, value in facts.items()}
    return tuple(sorted((name, _short(text)) for name, text in texts.items() if text and isinstance(text, str)))


def _short(value: str) -> str:
    """Return a value that can stand in tables and files: a very long one ends in a digest of the whole."""
    data = value.encode(errors="backslashreplace")
    if len(data) <= _LONGEST:
        return data.decode()
    return f"{data[:_LONGEST].decode(errors='ignore')}…{hashlib.blake2b(data, digest_size=4).hexdigest()}"
