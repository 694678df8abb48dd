"""A grid of settings, one training run a point, and the leaderboard of them: CSV, Markdown, HTML and a bundle of the winner.

Planets are fitted once and shared. A finished point is never run again; one that was killed starts anew, so that its runtime
is its own. Knows the order of the stages; the ranking is leaderboard.py's.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from ariel_lib.archive import Archive
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.checkpoint import Checkpoint
from ariel_lib.config import Config, ConfigError, config_hash, load_config
from ariel_lib.diagnostics.report import write_report
from ariel_lib.inference import answer
from ariel_lib.leaderboard import ranked, weights_sentence
from ariel_lib.provenance import recorded
from ariel_lib.runs import run_training
from ariel_lib.storage import write_atomically
from ariel_lib.survey import survey_planets
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import find_violations
from ariel_lib.transit.scale_height import Labelled

KEYS = {"base", "grid", "out", "public"}
RESULT = "point.json"
LEADERBOARD = ("leaderboard.csv", "leaderboard.md", "leaderboard.html")
BUNDLED = ("weights.safetensors", "metrics.json", "manifest.json", "manifest_train.json", RESULT)


@dataclass(frozen=True)
class Point:
    """name: its settings, as on the command line; config with training.out in its own folder."""

    name: str
    config: Config

    @property
    def folder(self) -> Path:
        return Path(self.config.training.out)


def load_grid(path: Path | str, overrides: list[str] | tuple = ()) -> tuple[list[Point], Path, dict[str, float]]:
    """Points, output folder and public scores by point name. overrides are settings of every point, after the file's base.

    The file: base, a list of KEY=VALUE; grid, KEY: [values]; out, a folder; public, point name: score (optional).
    Raises ConfigError for anything that is not understood, before any point is run.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, Mapping) or not set(content) <= KEYS or not isinstance(content.get("grid"), Mapping):
        raise ConfigError(f"{path}: expected the keys {', '.join(sorted(KEYS))}, and grid with KEY: [values].")
    for key, values in content["grid"].items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: grid.{key}: expected a list of values, found {values!r}.")
    out = Path(content.get("out", "outputs/ablation"))
    points = list(_points(content["grid"], [*content.get("base", ()), *overrides], out))
    public = content.get("public") or {}
    if unknown := set(public) - {point.name for point in points}:
        raise ConfigError(f"{path}: public: no such point: {sorted(unknown)[0]}. A point is {points[0].name!r}.")
    return points, out, public


def _points(grid: Mapping[str, list], base: list[str], out: Path) -> Iterator[Point]:
    for values in product(*grid.values()):
        chosen = [f"{key}={json.dumps(value) if isinstance(value, bool | list) else value}" for key, value in zip(grid, values)]
        config = load_config(None, [*base, *chosen])
        folder = out / "points" / config_hash(config)[:12]
        yield Point(" ".join(chosen), replace(config, training=replace(config.training, out=str(folder))))


def ablate(
    path: Path | str, overrides: list[str] | tuple = (), *, progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Run what is not done of the grid and write leaderboard.csv, .md, .html and winner.zip; returns winner and counts."""
    points, out, public = load_grid(path, overrides)
    ran, figures = 0, []
    with recorded("ablate", out) as run:
        for done, point in enumerate(points, 1):
            known = finished(point)
            if known is None:
                log(f"point {done} of {len(points)}: {point.name}")
                known, ran = run_point(point, out, log), ran + 1
            figures.append({"point": point.name, "public": public.get(point.name), **known})
            if progress:
                progress(done, len(points))
        order = write_leaderboard(out, figures)
        winner = points[order[0][0]]
        bundle = write_bundle(out / "winner.zip", winner, out, Path(path))
        run.artifacts = [*(out / name for name in LEADERBOARD), bundle]
        run.inputs = {"grid": Path(path)}
        run.metrics = {"winner": winner.name, "composite": order[0][1], "points": len(points)}
    return {
        "winner": winner.name, "composite": order[0][1], "points": len(points), "ran": ran, "kept": len(points) - ran,
        "leaderboard": str(out / "leaderboard.csv"), "bundle": str(bundle),
    }  # fmt: skip


def finished(point: Point) -> dict | None:
    """The figures of a point that ran to its end with this very configuration, or None."""
    path = point.folder / RESULT
    if not path.is_file():
        return None
    found = json.loads(path.read_bytes())
    return found["figures"] if found["config_hash"] == config_hash(point.config) else None


def run_point(point: Point, out: Path, log: Callable[[str], None]) -> dict:
    """Train a point and judge it on its held-out planets; the figures that leaderboard.py ranks by."""
    _share_fits(point, out)
    for state in point.folder.glob("state_*.safetensors"):
        state.unlink()
    result = run_training(point.config, log=log)
    v50 = result["validation"]["v50"]
    figures = {
        "validation": v50["score"], "coverage_gap": abs(v50["coverage_80"] - 0.80), "runtime_s": result["seconds"],
        "violations": violated_share(point), "z_error": abs(v50["z_rms"] - 1), "mae": v50["mae"],
    }  # fmt: skip
    text = json.dumps({"point": point.name, "config_hash": config_hash(point.config), "figures": figures}, indent=1)
    write_atomically(point.folder / RESULT, text.encode())
    return figures


def _share_fits(point: Point, out: Path) -> None:
    """Fit the planets once, in out/shared, and let the point's folder point there."""
    config, shared = point.config, out.resolve() / "shared"
    settings = CalibrationSettings(airs_samples=config.calibration.airs_samples)
    _survey(config, shared, None, settings)
    point.folder.mkdir(parents=True, exist_ok=True)
    for name in ("estimates", "lightcurves"):
        link = point.folder / name
        if (shared / name).is_dir() and not link.exists():
            link.symlink_to(shared / name, target_is_directory=True)


def _survey(config: Config, scratch: Path, planets, settings: CalibrationSettings):
    return survey_planets(
        Archive(config.data.root), config.data.folder, scratch=scratch, light_curves=config.data.light_curves, planets=planets,
        settings=settings, workers=config.calibration.workers,
    )  # fmt: skip


def violated_share(point: Point) -> float:
    """Share of the bins of held-out planets that break a rule of physics (any but the microlensing guard)."""
    checkpoint = Checkpoint.load(point.folder / "weights.safetensors")
    judges = checkpoint.as_held_out(Labelled.read(Archive(point.config.data.root), point.config.data.folder))
    settings = CalibrationSettings(airs_samples=point.config.calibration.airs_samples)
    survey = _survey(point.config, point.folder, list(judges), settings).given(checkpoint.drift)
    answers = [answer(observation, judges[planet]) for planet, observation in survey.observations.items()]
    mean, sigma = (torch.tensor(np.stack([getattr(a, name) for a in answers])) for name in ("mean", "sigma"))
    found = find_violations(mean, make_context(mean, sigma, torch.tensor(checkpoint.wavelength)))
    broken = torch.stack([violations.flagged for name, violations in found.items() if name != "microlens"])
    return float(broken.any(dim=0).double().mean())


def write_leaderboard(out: Path, figures: list[dict]) -> list[tuple[int, float]]:
    """leaderboard.csv, .md and .html in out, best first; the order."""
    order, said = ranked(figures), weights_sentence(figures)
    rows = [{"rank": rank, "composite": score, **figures[n]} for rank, (n, score) in enumerate(order, 1)]
    table = pd.DataFrame(rows)
    shown = table.fillna("–")
    write_atomically(out / "leaderboard.csv", table.to_csv(index=False).encode())
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v).replace("|", "\\|") for v in row] for row in shown.to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in [list(table), ["---"] * table.shape[1], *cells]]
    write_atomically(out / "leaderboard.md", ("\n".join([said, "", *lines]) + "\n").encode())
    write_report(out / "leaderboard.html", title="Ablation", metrics={}, figures={}, tables={"Leaderboard": shown}, notes=[said])
    return order


def write_bundle(path: Path, winner: Point, out: Path, grid: Path) -> Path:
    """What proves the winner, in one ZIP; the same files give the same bytes."""
    files = {name: winner.folder / name for name in BUNDLED} | {"ablation.yaml": grid}
    files |= {name: out / name for name in LEADERBOARD}
    temporary = path.with_suffix(".partial")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in sorted(files):
            bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return temporary.replace(path)
