"""A Python model that calls others is found by its source, in whatever words, and refused."""

import pytest
from triton_models import PLAIN, generate, model, sample, save, x

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.model_calls import find_calls

CLASS = "class TritonPythonModel:\n    def execute(self, requests):\n        "
PLAINLY = (
    "import triton_python_backend_utils as pb_utils\n"
    + CLASS
    + "return [pb_utils.InferenceRequest(model_name='scorer', inputs=[]).exec()]"
)


@pytest.fixture
def folder(tmp_path):
    return model(tmp_path / "models", "m", "backend: 'python'\n" + PLAIN)


def write(folder, **files):
    for name, text in files.items():
        path = folder / "1" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


CALLS = {
    "plainly": PLAINLY,
    "in a coroutine": "import triton_python_backend_utils as pb\nclass TritonPythonModel:\n"
    "    async def execute(self, rs):\n        await pb.InferenceRequest(model_name='scorer').async_exec()",
    "in two steps": "import triton_python_backend_utils as p\n"
    + CLASS
    + "q = p.InferenceRequest(model_name='scorer')\n        run = q.exec\n        return run(decoupled=False)",
    "imported by name": "from triton_python_backend_utils import InferenceRequest\n"
    + CLASS
    + "return InferenceRequest(model_name='scorer').exec()",
    "imported under another": "from triton_python_backend_utils import InferenceRequest as Ask\n"
    + CLASS
    + "return Ask(model_name='scorer').exec()",
    "with a star": "from triton_python_backend_utils import *\n"
    + CLASS
    + "return InferenceRequest(model_name='scorer').exec()",
    "by importlib": "import importlib\npb = importlib.import_module('triton_python_backend_utils')\n"
    + CLASS
    + "return pb.InferenceRequest(model_name='scorer').exec()",
    "by getattr": "import triton_python_backend_utils as pb\n"
    + CLASS
    + "return getattr(getattr(pb, 'InferenceRequest')(model_name='scorer'), 'exec')()",
    "by another name": "import triton_python_backend_utils as pb\nAsk = pb.InferenceRequest\nNAME = 'scorer'\n"
    + CLASS
    + "return Ask(model_name=NAME).exec()",
    "by partial": "import functools, triton_python_backend_utils as pb\n"
    "ask = functools.partial(pb.InferenceRequest, model_name='scorer')\n" + CLASS + "return ask().exec()",
}


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_a_call_is_found_with_the_called_models_name(folder, text):
    write(folder, model=text)
    found = find_calls(folder)
    assert (found.models, found.named) == (("scorer",), True)
    assert found.where.startswith("1/model.py:")


def test_a_name_that_is_worked_out_at_run_time_is_not_known(folder):
    write(folder, model=PLAINLY.replace("'scorer'", "self.names[0]"))
    found = find_calls(folder)
    assert (found.models, found.named) == ((), False)


@pytest.mark.parametrize("place", ["helper", "lib__ask"])
def test_a_helper_beside_the_model_counts(folder, place):
    write(folder, model="from helper import ask\n" + CLASS + "return ask(requests)", **{place: PLAINLY})
    assert find_calls(folder).where == f"1/{place.replace('__', '/')}.py:4"


def test_a_helper_may_make_what_the_model_runs(folder):
    made = "import triton_python_backend_utils as p\ndef make(m): return p.InferenceRequest(model_name=m)"
    write(folder, model="from helper import make\n" + CLASS + "return make('scorer').exec()", helper=made)
    assert find_calls(folder).where == "1/helper.py:2"


def test_a_module_in_the_repository_counts_if_it_is_imported(folder):
    (folder.parent / "shared.py").write_text(PLAINLY)
    write(folder, model=CLASS + "return []")
    assert find_calls(folder) is None
    write(folder, model="import importlib\nask = importlib.import_module('shared')\n" + CLASS + "return []")
    assert find_calls(folder).where == "shared.py:4"


def test_what_is_no_python_of_this_version_is_looked_at_as_text(folder):
    write(folder, model=PLAINLY + "\n        print 'python 2'")
    assert find_calls(folder).where == "1/model.py:4"


NO_CALLS = {
    "answers only": "import triton_python_backend_utils as pb\n" + CLASS + "return [pb.InferenceResponse([])]",
    "a type": "import triton_python_backend_utils as pb\nfrom typing import List\nclass TritonPythonModel:\n"
    "    def execute(self, requests: List[pb.InferenceRequest]) -> 'pb.InferenceRequest':\n"
    "        first: pb.InferenceRequest = requests[0]\n        assert isinstance(first, pb.InferenceRequest)\n"
    "        return self.session.exec(first)",
    "python's own exec": "from triton_python_backend_utils import InferenceRequest\nKinds = [InferenceRequest]\n"
    + CLASS
    + "exec('x = 1')",
    "a comment": "# pb.InferenceRequest(model_name='a').exec()\n" + CLASS + "return 'see InferenceRequest(...).exec()'",
}


@pytest.mark.parametrize("text", NO_CALLS.values(), ids=NO_CALLS)
def test_a_model_that_calls_none_is_let_through(folder, text):
    write(folder, model=text)
    assert find_calls(folder) is None


def test_its_own_tests_do_not_count(folder):
    write(folder, model=CLASS + "return []", test_model=PLAINLY)
    assert find_calls(folder) is None


def generated(folder, *models, **options):
    sets = save(folder.parent.parent / "samples", "m", sample(x()))
    return generate(folder.parent, sets, models, **options)


def test_a_named_model_is_refused_with_what_would_work(folder):
    write(folder, model=PLAINLY)
    with pytest.raises(TritonConfigError, match=r"1/model\.py:4 calls scorer; .*gate.*--loaded-first scorer") as caught:
        generated(folder, "m")
    assert "\n" not in str(caught.value)
    assert "model_warmup" not in (folder / "config.pbtxt").read_text()


def test_among_others_it_is_skipped_and_named(folder):
    write(folder, model=PLAINLY)
    model(folder.parent, "other")
    save(folder.parent.parent / "samples", "other", sample(x()))
    plan = generated(folder)
    assert [p.name for p in plan.models] == ["other"]
    assert "skipped, model m: 1/model.py:4 calls scorer" in "".join(plan.skipped)


def test_alone_it_is_refused(folder):
    write(folder, model=PLAINLY)
    with pytest.raises(TritonConfigError, match="calls scorer"):
        generated(folder)


def test_blocks_of_an_earlier_release_are_no_excuse(folder):
    generated(folder)
    write(folder, model=PLAINLY)
    with pytest.raises(TritonConfigError, match=r"--remove --model m takes away the blocks"):
        generated(folder)


def test_the_called_models_may_be_loaded_first(folder):
    write(folder, model=PLAINLY)
    with pytest.raises(TritonConfigError, match="calls scorer"):
        generated(folder, loaded_first=("another",))
    assert len(generated(folder, loaded_first=("another", "scorer")).models[0].blocks) == 1


def test_another_backends_files_are_not_its_source(folder):
    (folder / "config.pbtxt").write_text("backend: 'onnxruntime'\n" + PLAIN)
    write(folder, model=PLAINLY)
    assert len(generated(folder).models[0].blocks) == 1
