"""torch.compile: Inductor's cache of compiled graphs. Dynamo traces anew in every process; no cache saves that.

torch counts a graph as hit whose machine code is missing, and lets g++ run again for it; and what it cannot load from
its folder fails the model's own call. Both are seen where it loads a graph.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_warmup.caches.framework import CacheCount

_CODE = "*.main.so"
"""What the C++ compiler makes of a graph's kernels; its other libraries only ask what the processor can do."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """Before a graph is loaded: the time, and how often the C++ compiler had run."""

    clock: float
    wall: float
    compiles: int

    @classmethod
    def now(cls) -> _Moment:
        return cls(time.perf_counter(), time.time(), _compiles())

    def seconds(self) -> float:
        return time.perf_counter() - self.clock

    def code_was_made_since(self) -> bool:
        """Return whether machine code of a graph was; files are looked at only if the compiler ran at all."""
        if _compiles() == self.compiles:
            return False
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        return any(file.stat().st_mtime >= self.wall for file in folder.rglob(_CODE))


def _compiles() -> int:
    with contextlib.suppress(Exception):  # nothing may reach the model's call
        return len(sys.modules["torch._dynamo.utils"].compilation_time_metrics["compile_file"])
    return 0


class InductorCache:
    """Reads torch's own counters, and wraps ``FxGraphCache.load_with_key`` for what they do not tell."""

    name = "torch.compile"
    package = "torch._dynamo"

    def __init__(self) -> None:
        self._saved: float | None = None
        self._rejected: set[str] = set()
        self._rebuilt = 0
        self._failed: str | None = None
        self._folder: Path | None = None
        self._watched = False

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return the folder; and a user's name if the uid has none, which older torch needs at import."""
        found = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        try:
            getpass.getuser()
        except (KeyError, OSError):  # an unmapped uid, as OpenShift gives (pytorch 140765)
            found["USER"] = f"uid{os.getuid()}"
        return found

    def switch_on(self, folder: Path) -> None:
        """Set the folder, which Inductor reads from the environment whenever it compiles."""
        os.environ.update(self.variables(folder))
        self._folder = folder / "inductor"

    def watch(self) -> None:
        """Wrap what loads a graph, once Inductor is imported; ``torch.compile()`` does that."""
        graphs: Any = getattr(sys.modules.get("torch._inductor.codecache"), "FxGraphCache", None)
        if self._watched or not hasattr(graphs, "load_with_key"):  # torch before 2.6 has none, and counts all the same
            return
        graphs.load_with_key = staticmethod(self._loader(graphs, graphs.load_with_key))
        self._watched = True

    def _loader(self, graphs: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        def load_with_key(*args: Any, **kwargs: Any) -> Any:
            entries, key, before = False, "", _Moment.now()
            with contextlib.suppress(Exception):  # a changed torch loses these figures, and no more
                key = str(kwargs.get("key", args[0] if args else ""))
                entries = any(Path(graphs._get_tmp_dir_for_key(key)).iterdir())  # noqa: SLF001
            try:
                found = original(*args, **kwargs)
            except Exception as error:
                if not self._put_aside(key, f"{type(error).__name__}: {error}"):
                    raise
                return original(*args, **kwargs)
            with contextlib.suppress(Exception):
                self._note(found, key, before, entries=entries)
            return found

        return load_with_key

    def _note(self, found: Any, key: str, before: _Moment, *, entries: bool) -> None:
        graph, info = found
        if graph is None:
            if entries and info.get("cache_status_detailed") != "guard_miss" and key not in self._rejected:
                self._put_aside(key, "an entry could not be read")
        elif before.code_was_made_since():
            self._rebuilt += 1
        elif (took := info.get("time_saved_ns")) is not None:
            self._saved = (self._saved or 0.0) + max(took / 1e9 - before.seconds(), 0.0)

    def _put_aside(self, key: str, why: str) -> bool:
        """Let Inductor begin with an empty folder, as what is damaged would fail each compile that meets it.

        Returns whether there is one that is ours to move: that of a baked cache.
        """
        self._rejected.add(key)
        self._failed = self._failed or " ".join(why.split())[:200]
        if self._folder is None:
            return False
        try:
            self._folder.rename(self._folder.with_name(f"inductor-rejected-{len(self._rejected)}"))
        except OSError:
            return False
        with contextlib.suppress(Exception):
            _forget()
        return True

    def count(self) -> CacheCount:
        """Return the counts of graphs; those that torch would not cache, or whose C++ was missing, are compiled.

        torch counts a graph twice that it misses on the way through AOTAutograd's cache; it times each compile once.
        """
        utils: Any = sys.modules["torch._dynamo.utils"]
        graphs, traced = utils.counters["inductor"], utils.counters["aot_autograd"]
        bypassed = int(graphs["fxgraph_cache_bypass"])
        missed = int(graphs["fxgraph_cache_miss"]) + bypassed
        timed = getattr(utils, "compilation_time_metrics", {}).get("fx_codegen_and_compile")
        compiled = missed if timed is None else min(missed, len(timed))
        hit = max(int(graphs["fxgraph_cache_hit"]), int(traced["autograd_cache_hit"]))  # a bundle has both in one
        anew = int(traced["autograd_cache_miss"]) + int(traced["autograd_cache_bypass"]) - compiled
        rebuilt = min(self._rebuilt, hit)
        notes = (
            (bypassed, f"{bypassed} graphs cannot be cached"),
            (rebuilt, f"the machine code of {rebuilt} graphs was missing and was compiled"),
            (self._failed, f"what was cached could not be loaded and was put aside: {self._failed}"),
            (
                hit and anew > 0,
                f"{anew} graphs were traced anew, as AOTAutograd's cache had no entry that it could use",
            ),
        )
        said = "; ".join(words for holds, words in notes if holds)
        rejected = min(len(self._rejected), compiled)
        return CacheCount(self.name, hit - rebuilt, compiled + rebuilt, rejected, self._saved, note=said or None)

    def versions(self) -> Mapping[str, str]:
        """Return torch's version, what it compiles for, and the GPU and CUDA where torch has already begun to use it.

        A GPU is not asked before that: asking would make its context in a process that may fork.
        """
        torch = sys.modules["torch"]
        found = {"torch": str(torch.__version__), "torch cpu": str(torch.backends.cpu.get_cpu_capability())}
        if torch.version.cuda and torch.cuda.is_initialized():
            found["torch cuda"] = str(torch.version.cuda)
            found["torch gpu"] = torch.cuda.get_device_name()
        return found


def _forget() -> None:
    """Have torch forget what it holds of its folder's files, and what it learned by them of the processor."""
    utils: Any = sys.modules["torch._inductor.utils"]
    utils.clear_caches()
    processor = vars(sys.modules["torch._inductor.cpu_vec_isa"])
    kinds = [vars(kind) for kind in processor.values() if isinstance(kind, type)]
    for one in [value for names in (processor, *kinds) for value in names.values()]:
        if clear := getattr(one, "cache_clear", None):
            clear()
