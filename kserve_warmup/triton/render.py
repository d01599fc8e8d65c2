"""Blocks and minimal configurations as protobuf text, through Jinja2 templates that a user may replace.

A sandbox keeps a template from reaching what it must not, and not from counting to 10**12 or asking for a string of
terabytes, while it is compiled already. Only the kernel ends that for certain: where a template's author is not known
to be well-meaning, it is rendered in a process of bounded time, memory and answer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from google.protobuf import text_encoding

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.extras import optional
from kserve_warmup.files import shipped
from kserve_warmup.triton.blocks import Block
from kserve_warmup.triton.warmup_files import read_regular

WARMUP_TEMPLATE = "model_warmup.pbtxt.j2"
CONFIG_TEMPLATE = "config.pbtxt.j2"

LARGEST = 1 << 20
"""Bytes that a template may have."""

SECONDS = 10.0
MEMORY = 512 << 20
"""Bytes above what the process has at its beginning."""
ANSWER = 4 << 20

_GOOD, _BAD = b"+", b"-"
_REASON = 300
"""Characters of a reason that are told."""


class Bare(str):
    """Text that stands in pbtxt without quotes: an enum's name, a comment."""

    __slots__ = ()


def literal(value: Any) -> str:
    """Return a template expression's value as pbtxt: text quoted and escaped by protobuf, never pasted."""
    import jinja2  # which calls this

    if isinstance(value, Bare):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (str, jinja2.Undefined)):  # the latter raises what it lacks, or must not have
        value = str(value)
        return f'"{text_encoding.CEscape(value, as_utf8=False)}"'
    raise TritonConfigError(f"a template writes a {type(value).__name__}, which pbtxt has no form for: write its items")


def enum(value: str) -> Bare:
    """Return an enum's name, such as ``TYPE_FP32``, to be written without quotes."""
    if not value.isidentifier() or not value.isascii():
        raise TritonConfigError(f"{value!r} is not an enum's name")
    return Bare(value)


def comment(value: str) -> Bare:
    """Return text for a comment: one line, printable ASCII."""
    return Bare("".join(c if c.isascii() and c.isprintable() else "?" for c in str(value)))


class Templates:
    """The templates of one folder, the package's own where it has none of a name.

    Every ``{{ expression }}`` is written as a pbtxt literal; the filters ``enum`` and ``comment`` write it bare. A
    user's templates reach nothing but what they are given and the files of their folder, and are compiled and rendered
    in a process of bounded time and memory: they may come with a repository that somebody else has made.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Compile nothing yet."""
        if folder is not None and not folder.is_dir():
            raise TritonConfigError(f"--templates {folder} is not a folder")
        self._given = folder
        self._folders = [f for f in (folder, shipped("triton_templates")) if f]
        jinja2 = optional("jinja2", "templates need", "triton")
        self._environment = optional("jinja2.sandbox", "templates need", "triton").ImmutableSandboxedEnvironment(
            loader=jinja2.FunctionLoader(self._load),
            undefined=jinja2.StrictUndefined,
            finalize=literal,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"enum": enum, "comment": comment}
        self._source = cache(self._read)

    def _load(self, name: str) -> str | None:
        """Return the text of the first template of a name, None when there is none."""
        for folder in self._folders:
            root = folder.resolve()
            try:
                file = (root / name).resolve()
                if root not in file.parents and folder == self._given:  # ours may be installed as links
                    raise TritonConfigError(f"template {name} leads out of {folder}")
                if file.stat().st_size > LARGEST:
                    raise TritonConfigError(f"template {name} in {folder} has more than {LARGEST >> 20} MiB")
                return read_regular(file).decode()
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RuntimeError) as error:  # no file, no UTF-8, a NUL, a loop of links
                why = error.strerror if isinstance(error, OSError) else error
                raise TritonConfigError(f"template {name} in {folder} cannot be read: {why}") from None
        return None

    def _read(self, name: str) -> str:
        text = self._load(name)
        if text is None:
            raise TritonConfigError(f"there is no template {name} in {self._folders[-1]}: install the package anew")
        return text

    def source(self, name: str) -> str:
        """Return a template's text."""
        return self._source(name)

    def warmup(self, blocks: Sequence[Block]) -> str:
        """Return the ``model_warmup`` fields for ``blocks``."""
        return self._render(WARMUP_TEMPLATE, blocks=blocks)

    def config(self, **values: Any) -> str:
        """Return a minimal ``config.pbtxt``."""
        return self._render(CONFIG_TEMPLATE, **values)

    def _render(self, name: str, **values: Any) -> str:
        import jinja2

        def rendered() -> str:
            text: str = self._environment.get_template(name).render(**values)
            return text

        try:
            text = rendered() if self._given is None else confined(rendered)
        except TritonConfigError as error:
            raise TritonConfigError(str(error) if name in str(error) else f"template {name}: {error}") from None
        except jinja2.TemplateError as error:
            raise TritonConfigError(f"template {name}: {error}") from None
        if not text.isascii():
            raise TritonConfigError(f"template {name} writes text beyond ASCII: use escapes in strings")
        return text


def confined(work: Callable[[], str]) -> str:
    """Return what ``work`` returns, done in a process of its own, which is no more when this returns.

    Raises:
        TritonConfigError: it failed, in one line; or it takes too long, too much memory, or writes too much.
    """
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_answer, args=(work, theirs))
    child.start()  # cheap, once a model; the child only computes
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            raise TritonConfigError(f"it takes longer than {SECONDS:g} s")
        answer = ours.recv_bytes(ANSWER)
    except EOFError:
        answer = _BAD
    finally:
        ours.close()
        child.kill()
        child.join()
        child.close()
    if answer[:1] == _GOOD:
        return answer[1:].decode()
    raise TritonConfigError(answer[1:].decode() or f"it takes more than {MEMORY >> 20} MiB of memory, or crashes")


def _answer(work: Callable[[], str], pipe: Connection) -> None:
    """Do the work, send the answer and end this process, without a word of what the parent would say at its end."""
    answer = _BAD
    try:
        _limit()
        answer = _GOOD + work().encode("utf-8", "replace")
    except MemoryError:
        pass
    except Exception as error:  # noqa: BLE001  (whatever a template can raise)
        answer = _BAD + " ".join(_reason(error).split())[:_REASON].encode("utf-8", "replace")
    finally:
        if len(answer) > ANSWER:
            answer = _BAD + f"it writes more than {ANSWER >> 20} MiB".encode()
        pipe.send_bytes(answer)
        os._exit(0)


def _reason(error: Exception) -> str:
    import jinja2

    told = isinstance(error, TritonConfigError | jinja2.TemplateError)
    return str(error) if told else f"{type(error).__name__}: {error}"


def _limit() -> None:
    """Set what the kernel enforces, also when the parent is no more."""
    seconds = int(SECONDS + time.process_time()) + 1
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, _taken() + MEMORY)):
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken() -> int:
    """Return the bytes of address space that this process has; threads and libraries reserve more than they use."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux: time and answer are bounded all the same
        return 1 << 40
