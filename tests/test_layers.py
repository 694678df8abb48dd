"""Who may import whom, read from the source of every module, lazy imports included."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ariel_lib"
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in PACKAGE.rglob("*.py"))

# From the top down: a module imports only from packages further down, and from its own.
# priors lie below transit: they are functions of arrays, and the fits' multiplicative bias is one of their covariances.
ORDER = (
    "cli", "server", "commands", "selftest", "diagnostics", "evaluation", "prediction", "training", "pipeline", "plots",
    "uncertainty", "symbolic", "models", "simulator", "transit.bumps", "transit.population", "transit", "priors", "calibration",
    "provenance", "execution", "io", "config", "metrics", "molecules", "instrument", "errors",
)  # fmt: skip
TORCH_BEGINS = ("models", "symbolic", "pipeline", "training", "prediction", "evaluation", "diagnostics", "selftest", "commands", "cli")
WITH_TORCH = ("ariel_lib.uncertainty.corel",)  # a quantile network: it learns intervals, not spectra
ONLY_IN = {
    "hydra": ("config",),
    "omegaconf": ("config",),
    "typer": ("cli",),
    "matplotlib": ("plots",),
    "bokeh": ("plots",),
    "umap": ("diagnostics",),
    "sklearn": ("diagnostics", "models"),
    "jinja2": ("diagnostics", "plots"),
    "torch_geometric": ("models",),
    "mamba_ssm": ("models",),
    "batman": (),  # it compiles: the tests and a benchmark compare with it
    "mlflow": ("provenance",),
    "distributed": ("execution",),
    "fastapi": ("server",),
    "pydantic": ("server",),
    "starlette": ("server",),
    "uvicorn": ("server",),
}

# Functions that the kernels do not call import these, after a check that says in one line which extra is needed.
EXTRAS_IN = {
    "bokeh": {"ariel_lib.plots.interactive"},
    "sklearn": {"ariel_lib.models.baselines", "ariel_lib.diagnostics.projection"},
    "umap": {"ariel_lib.diagnostics.projection"},
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_KAGGLE = {"mamba_ssm", "triton"}  # the kernel of a GPU; without it the plain scan runs


def imports_of(module: str) -> set[str]:
    """Absolute dotted names that a module imports anywhere; ariel_lib.symbolic.* for import_module(f"ariel_lib.symbolic.{…}")."""
    path = ROOT / (module.replace(".", "/") + ".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            given = ast.unparse(node.args[0])
            found |= {re.sub(r"{.*", "*", name) for name in re.findall(r"^f?'([a-z_]+\..*)'$", given)}
    return found


def package_of(name: str) -> str:
    """The entry of ORDER that a dotted name belongs to: ariel_lib.transit.bumps.fit → transit.bumps, ariel_lib.transit.fit → transit."""
    parts = name.split(".")[1:]
    found = [entry for entry in ORDER if parts[: len(entry.split("."))] == entry.split(".")]
    return max(found, key=len) if found else ".".join(parts[:1])


def is_public_list(module: str) -> bool:
    """ariel_lib/__init__.py names what a notebook needs, from any package; nothing but the version is imported from it."""
    return module == "ariel_lib.__init__"


def test_there_are_modules_to_judge():
    assert {"ariel_lib.io.archive", "ariel_lib.config.settings", "ariel_lib.models.ssm", "ariel_lib.transit.bumps.fit"} <= set(MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if not is_public_list(module)])
def test_every_module_belongs_to_a_package_of_the_table(module):
    assert package_of(module) in ORDER, f"{module}: list its package in ORDER, where it belongs"


def test_every_package_of_the_table_exists():
    assert {package_of(module) for module in MODULES if not is_public_list(module)} == set(ORDER)


def test_few_modules_lie_beside_the_packages():
    assert len([module for module in MODULES if module.count(".") == 1]) <= 8


@pytest.mark.parametrize("module", [module for module in MODULES if not is_public_list(module)])
def test_module_imports_only_downwards(module):
    package = package_of(module)
    for name in imports_of(module):
        top = name.partition(".")[0]
        torch_free = package.partition(".")[0] not in TORCH_BEGINS and module not in WITH_TORCH
        assert not (top == "torch" and torch_free), f"{module} imports torch"
        own = package.partition(".")[0]
        assert own in ONLY_IN.get(top, (own,)), f"{module} imports {top}, which belongs to {ONLY_IN[top]}"
        if top == "ariel_lib" and name not in ("ariel_lib", "ariel_lib.__version__"):
            other = package_of(name)
            assert other == package or ORDER.index(other) > ORDER.index(package), f"{module} imports {name}, which lies above it"


def edges(modules: list[str]) -> dict[str, set[str]]:
    """package → packages that it imports."""
    graph: dict[str, set[str]] = {}
    for module in modules:
        own = package_of(module)
        found = {package_of(name) for name in imports_of(module) if name.startswith("ariel_lib.") and name != "ariel_lib.__version__"}
        graph.setdefault(own, set()).update(found - {own})
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Packages that lie on a circle, or that only such packages import from; empty where there is none."""
    left = {package: set(others) for package, others in graph.items()}
    while free := [package for package, others in left.items() if not others & set(left)]:
        for package in free:
            del left[package]
    return sorted(left)


def test_no_circle_between_packages():
    assert circle(edges([module for module in MODULES if not is_public_list(module)])) == []


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]


def test_relative_imports_resolve_to_their_package(tmp_path, monkeypatch):
    folder = tmp_path / "ariel_lib" / "models"
    folder.mkdir(parents=True)
    (folder / "sample.py").write_text("from ..metrics import score\nfrom . import ssm\n", encoding="utf-8")
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert imports_of("ariel_lib.models.sample") == {"ariel_lib.metrics.score", "ariel_lib.models.ssm"}


def declared(requirements: list[str]) -> set[str]:
    """Names that the distributions of requirements are imported by; a requirement that is not installed counts by its own name."""
    names = {re.match(r"[\w.-]+", text).group().lower().replace("_", "-") for text in requirements}
    found = {module for module, owners in packages_distributions().items() if names & {owner.lower().replace("_", "-") for owner in owners}}
    return found | {name.replace("-", "_") for name in names}


def test_every_package_that_is_imported_is_declared():
    wanted = {name.partition(".")[0] for module in MODULES for name in imports_of(module)} - {"ariel_lib"}
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    assert wanted - set(sys.stdlib_module_names) - declared(PROJECT["dependencies"]) - declared(extras) <= OF_KAGGLE


def test_the_core_needs_no_extra():
    """Every module but the web page's is imported where nothing is installed but the dependencies."""
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    absent = declared(extras) - declared(PROJECT["dependencies"]) - {"setuptools", "packaging", "_distutils_hack"}
    program = f"import sys; sys.modules.update(dict.fromkeys({sorted(absent)}))\n"
    program += "from ariel_lib.selftest import check_imports; print(check_imports())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ok, without ariel_lib.server: pip install 'spectramind[gui]' adds what it needs"


def reached_from(start: list[str]) -> set[str]:
    """Modules of the library that are imported, directly or not, by those given; the packages that contain them among them."""
    left, reached = list(start), set()
    while left:
        names = imports_of(left.pop())
        names |= {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
        names |= {f"{name}.__init__" for name in names}
        new = {module for module in MODULES if module in names or module.rpartition(".")[0] + ".*" in names} - reached
        reached |= new
        left += new
    return reached


def test_the_kernels_import_nothing_that_the_image_and_their_wheels_lack():
    kernels = [f"kernels.{path.stem}" for path in (ROOT / "kernels").glob("*.py")]
    lines = [line for name in ("image", "requirements") for line in (ROOT / f"wheels/{name}.txt").read_text(encoding="utf-8").splitlines()]
    there = declared([line for line in lines if line[0] != "#"]) | set(sys.stdlib_module_names)
    there |= {"ariel_lib", "IPython"}  # the wheel of this project; what runs a notebook
    reached = reached_from(kernels)
    assert len(kernels) == 3 and {"ariel_lib.models.relations.region", "ariel_lib.calibration.kernel", "ariel_lib.errors"} <= reached
    for module in [*kernels, *sorted(reached)]:
        absent = {name.partition(".")[0] for name in imports_of(module)} - there
        assert absent <= {name for name, modules in EXTRAS_IN.items() if module in modules}, f"{module} imports {', '.join(absent)}"
