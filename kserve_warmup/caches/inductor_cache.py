"""torch.compile: Inductor's cache of compiled graphs. Dynamo traces anew in every process; no cache saves that."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from kserve_warmup.caches.framework import CacheCount


class InductorCache:
    """Reads torch's own counters; nothing is installed in torch."""

    name = "torch.compile"
    package = "torch._dynamo"

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

    def watch(self) -> None:
        """Do nothing: torch counts by itself."""

    def count(self) -> CacheCount:
        """Return Inductor's counts of graphs; graphs that it would not cache count as compiled."""
        counters = sys.modules["torch._dynamo.utils"].counters
        found = counters["inductor"]
        bypassed = int(found["fxgraph_cache_bypass"])
        note = f"{bypassed} graphs cannot be cached" if bypassed else None
        compiled = int(found["fxgraph_cache_miss"]) + bypassed
        return CacheCount(self.name, int(found["fxgraph_cache_hit"]), compiled, note=note)

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
