"""The public API: the names that ariel_lib/__init__.py lists, cheap to import, each with a docstring whose example runs here."""

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ariel_lib

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "torch", "pandas", "scipy", "matplotlib", "astropy", "omegaconf")


@pytest.fixture(autouse=True)
def torchs_threads():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def names(tiny_run):
    """What the examples take as given: folder, a data set; weights, a model trained on it; out, a folder with its fits."""
    return {"folder": tiny_run.data, "weights": tiny_run.weights, "out": tiny_run.scratch}


def examples_of(name: str) -> list[doctest.DocTest]:
    """The doctests of a public name, its methods' among them, that hold an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(getattr(ariel_lib, name), name, module=False) if test.examples]


@pytest.mark.parametrize("name", ariel_lib.__all__)
def test_every_public_name_has_an_example_that_runs_and_leaves_torchs_threads(name, names, monkeypatch):
    import torch

    from ariel_lib.training import loop

    torch.set_num_threads(3)
    monkeypatch.setattr(loop, "DRAWS_AN_EPOCH", 8)
    tests = examples_of(name)
    assert tests, f"{name}: its docstring has no >>> example"
    for test in tests:
        test.globs = dict(names)
        said: list[str] = []
        failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False).run(test, out=said.append)
        assert tried and not failed, "".join(said)
    assert torch.get_num_threads() == 3


def test_a_name_without_an_example_would_be_seen():
    assert not examples_of("__version__")


@pytest.mark.parametrize("name", ariel_lib.__all__)
def test_every_public_method_says_what_it_does(name):
    found = getattr(ariel_lib, name)
    assert inspect.getdoc(found)
    if inspect.isclass(found):
        public = {key: value for key, value in vars(found).items() if not key.startswith("_")}
        methods = {key: value for key, value in public.items() if callable(value) or isinstance(value, property)}
        assert not [key for key, value in methods.items() if not inspect.getdoc(value)]


def test_importing_the_library_loads_nothing_heavy():
    """-X importtime on an idle machine says 1 ms; that a heavy module is absent does not depend on the machine."""
    code = f"import ariel_lib, sys; dir(ariel_lib); print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_library_takes_less_than_a_fifth_of_a_second():
    """The interpreter's own count of what the module and everything below it took; the best of three, for other work runs here too."""
    times = []
    for _ in range(3):
        command = [sys.executable, "-X", "importtime", "-c", "import ariel_lib"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
        times.append(int(re.search(r"\|\s+(\d+) \| ariel_lib$", said, re.MULTILINE).group(1)))
    assert min(times) < 200_000


def test_names_are_listed_once_and_lead_where_type_checkers_are_told():
    source = (ROOT / "ariel_lib" / "__init__.py").read_text(encoding="utf-8")
    told = {
        name.strip(): module
        for module, names in re.findall(r"^    from ariel_lib\.([\w.]+) import (.+)$", source, re.MULTILINE)
        for name in names.split(",")
    }
    assert ariel_lib.__all__ == sorted(told, key=lambda name: (not name[0].isupper(), name)) == list(dict.fromkeys(ariel_lib.__all__))
    for name, module in told.items():
        assert getattr(ariel_lib, name) is getattr(import_module(f"ariel_lib.{module}"), name)
    assert set(ariel_lib.__all__) <= set(dir(ariel_lib))
    with pytest.raises(AttributeError, match="module 'ariel_lib' has no attribute 'spectrum'"):
        ariel_lib.spectrum  # noqa: B018


def test_the_api_page_lists_the_public_names():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^ +- (\w+)$", page, re.MULTILINE)) == sorted(ariel_lib.__all__)


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "ariel_lib" / "py.typed").is_file()
