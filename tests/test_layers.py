"""Who may import whom (design, section 1), read from the source of every module, lazy imports included."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ariel_lib"
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in PACKAGE.rglob("*.py"))
TORCH_FREE = ("instrument", "molecules", "archive", "simulator", "calibration", "transit", "metrics", "uncertainty", "submission")
TORCH_FREE += ("evaluation", "mounts", "config", "diagnostics", "storage", "survey", "rounds", "budget", "manifest", "standing", "doubts")
WITH_TORCH = ("ariel_lib.uncertainty.corel",)  # the one network outside models: it learns quantiles, not spectra
TORCH_FREE += ("provenance", "housekeeping", "leaderboard", "runs", "lineage", "tracking", "export", "server", "running")
ONLY_IN = {
    "hydra": ("config",),
    "omegaconf": ("config",),
    "typer": ("cli",),
    "matplotlib": ("diagnostics",),
    "bokeh": ("diagnostics",),
    "umap": ("diagnostics",),
    "sklearn": ("diagnostics", "models"),
    "jinja2": ("diagnostics",),
    "torch_geometric": ("models",),
    "mamba_ssm": ("models",),
    "batman": ("simulator",),
    "mlflow": ("tracking",),
    "fastapi": ("server",),
    "pydantic": ("server",),
    "starlette": ("server",),
    "uvicorn": ("server",),
}
# room → the rooms of ariel_lib that it may import besides `storage`, which knows no room;
# rooms that compose others (training, inference …) are free but for `cli`
MAY_IMPORT = {
    "instrument": set(),
    "molecules": set(),
    "storage": set(),
    "lineage": set(),
    "archive": {"instrument", "lineage"},
    "calibration": {"instrument", "archive"},
    "simulator": {"instrument", "archive", "calibration", "molecules"},
    "transit": {"instrument", "archive", "calibration"},
    "metrics": {"instrument"},
    "models": {"instrument", "archive", "calibration", "transit"},
    "symbolic": {"instrument", "molecules"},
    "uncertainty": {"instrument", "metrics"},
    "submission": {"instrument", "archive"},
    "evaluation": {"archive", "submission", "metrics"},
    "survey": {"archive", "calibration", "transit"},
    "diagnostics": {"instrument", "archive", "submission", "metrics", "uncertainty", "calibration"},
    "mounts": {"archive"},
    "budget": set(),
    "manifest": set(),
    "standing": {"submission"},
    "doubts": {"transit"},
    "rounds": {"archive", "budget", "calibration", "survey"},
    "config": set(),
    "provenance": {"manifest", "lineage", "__version__"},
    "housekeeping": {"instrument", "archive", "calibration"},
    "leaderboard": set(),
    "tracking": set(),
    "export": {"archive", "manifest", "submission", "transit"},
    "running": set(),
    "server": {"archive", "calibration", "running", "__version__"},
}


def imports_of(module: str) -> set[str]:
    """Absolute dotted names that a module imports anywhere in its text."""
    path = ROOT / (module.replace(".", "/") + ".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def room_of(name: str) -> str:
    """The room of a dotted name in ariel_lib: ariel_lib.models.ssm → models."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_there_are_modules_to_judge():
    assert {"ariel_lib.archive", "ariel_lib.cli", "ariel_lib.config", "ariel_lib.models.ssm"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_module_keeps_to_its_layer(module):
    room = room_of(module)
    for name in imports_of(module):
        top = name.partition(".")[0]
        torch_free = room in TORCH_FREE and not module.endswith("_torch") and module not in WITH_TORCH
        assert not (top == "torch" and torch_free), f"{module} imports torch"
        assert room in ONLY_IN.get(top, (room,)), f"{module} imports {top}, which belongs to {ONLY_IN[top]}"
        if top == "ariel_lib" and name != "ariel_lib.__version__":
            other = room_of(name)
            assert other != "cli", f"{module} imports the command line"
            assert other in MAY_IMPORT.get(room, {other}) | {room, "storage"}, f"{module} imports ariel_lib.{other}"


def test_relative_imports_resolve_to_their_room(tmp_path, monkeypatch):
    folder = tmp_path / "ariel_lib" / "models"
    folder.mkdir(parents=True)
    (folder / "sample.py").write_text("from ..metrics import score\nfrom . import ssm\n", encoding="utf-8")
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert imports_of("ariel_lib.models.sample") == {"ariel_lib.metrics.score", "ariel_lib.models.ssm"}
