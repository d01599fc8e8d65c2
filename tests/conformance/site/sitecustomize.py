"""Read by every interpreter that has this folder on PYTHONPATH, spawned workers included.

Replaces ``kserve.Model`` when KSERVE_WARMUP_SWAP is set. Stands in for vllm, which KServe's tests import for its OpenAI
types and which weighs gigabytes: every name in it is an empty pydantic model.
"""

import importlib.abc
import importlib.machinery
import os
import sys
import types


class _Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        from pydantic import BaseModel

        setattr(self, name, type(name, (BaseModel,), {}))
        return getattr(self, name)


class _Vllm(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "vllm":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        module.__path__ = []


sys.meta_path.insert(0, _Vllm())

if os.environ.get("KSERVE_WARMUP_SWAP"):
    import kserve.model

    from kserve_warmup import WarmupModel

    kserve.Model = kserve.model.Model = WarmupModel
