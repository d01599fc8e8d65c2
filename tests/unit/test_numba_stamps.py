"""numba's cache in an image: the times of sources lose their fractions when the image is pushed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_warmup.caches.numba_cache import NumbaCache

ROOT = Path(__file__).parents[2]
START = """
import os, sys
from numba.core import caching

def exact(self):  # as numba does before 0.68
    found = os.stat(self._py_file)
    return found.st_mtime, found.st_size

caching._SourceFileBackedLocatorMixin.get_source_stamp = exact
import model
from kserve_warmup.caches.numba_cache import NumbaCache

cache = NumbaCache()
cache.watch()
assert model.double(2) == 4
print(cache.count().hit, cache.count().compiled, cache.count().rejected)
"""


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "model.py"
    file.write_text("import numba\n\n\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n")
    os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    return file


def counts(source, variables):
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{source.parent}", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run([sys.executable, "-c", START], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(map(int, done.stdout.split()))


def push(source):
    """Do to a source what pushing and pulling its image does."""
    os.utime(source, ns=(0, source.stat().st_mtime_ns // 10**9 * 10**9))


def test_what_was_baked_is_hit_in_an_image_that_was_pushed(source, tmp_path):
    baked = NumbaCache().variables(tmp_path / "caches")
    assert counts(source, baked) == (0, 1, 0)
    push(source)
    assert counts(source, baked) == (1, 0, 0)
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 10**9))
    assert counts(source, baked) == (0, 1, 1)


def test_a_cache_that_no_bake_made_stays_as_numba_makes_it(source, tmp_path):
    own = {"NUMBA_CACHE_DIR": str(tmp_path / "own")}
    assert counts(source, own) == (0, 1, 0)
    assert counts(source, own) == (1, 0, 0)
    push(source)
    assert counts(source, own) == (0, 1, 1)
