"""Ablation: one training run for each point of a grid of settings, and the leaderboard of the points.

Points run in this process, in worker processes or on a Dask cluster, and share the transit fits. A finished point is run
again only if its configuration, the content of its data, the version or the kind of device changed. An interrupted point starts from
scratch, so that its runtime is comparable. The figures of held-out planets rank the points, and so are optimistic for the winner. With the
labels of the test planets, which rank nothing, differences.md compares each point's score with the first point's, with paired bootstrap
errors, on the same planets for all points: a test planet that one point lacks is left out for every point and named.
"""

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from ariel_lib import __version__
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.config import Config, ConfigError, config_hash, find_config, load_config
from ariel_lib.evaluation.leaderboard import differences_table, ranked, weights_sentence, with_differences
from ariel_lib.evaluation.score import read_true_spectra
from ariel_lib.evaluation.seeds import SEED, points_markdown, require_seeds
from ariel_lib.execution.workers import WorkerPool, local_pool, run_tasks
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import atomic_path, write_atomically
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_answer, planet_scores
from ariel_lib.pipeline.checkpoint import FORMAT, Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFits, fit_planets
from ariel_lib.plots.page import write_report
from ariel_lib.prediction.answer import answer
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import find_violations
from ariel_lib.training.examples import training_set
from ariel_lib.training.resolution import digest_inputs

Train = Callable[..., dict]
KEYS = {"base", "grid", "out", "public"}
RESULT = "point.json"
DIFFERENCES, SEEDS = "differences.md", "seeds.md"
CHOSEN = "The figures are of held-out planets, and rank the points: those of the first are optimistic."
LEADERBOARD = ("leaderboard.csv", "leaderboard.md", "leaderboard.html")
BUNDLED = ("weights.safetensors", "metrics.json", "manifest.json", "manifest_train.json", RESULT)


@dataclass(frozen=True)
class Point:
    """One point of the grid.

    name    its settings, as on the command line
    config  the configuration, with training.out in a folder of the point's own
    data    digest of the content of light curves, stars, labels, initial weights and truth, of version and device
    truth   file with the labels of the test planets, or None
    """

    name: str
    config: Config
    data: str = ""
    truth: Path | None = None

    @property
    def folder(self) -> Path:
        return Path(self.config.training.out)

    @property
    def dataset(self) -> Dataset:
        """The training set; its scratch folder is shared by all points with the same calibration settings."""
        shared = self.folder.resolve().parents[1] / f"shared_{self.config.calibration.airs_samples}"
        return training_set(self.config).with_scratch(shared)


def load_grid(path: Path | str, overrides: list[str] | tuple = (), seeds: Sequence[int] = ()) -> tuple[list[Point], Path, dict[str, float]]:
    """Points, output folder and public scores by point name, from a YAML file.

    overrides  settings of every point, applied after the file's base
    seeds      every point is one for each of these training seeds; none: as the file has it

    Keys of the file: base, a list of KEY=VALUE; grid, KEY: [values], or a list of such grids, whose points are joined; out, a
    folder; public, point name: score (optional). A configuration in two grids is one point.
    Raises ConfigError for a file that does not have this form, or an unknown setting.
    """
    path = find_config(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML ({' '.join(str(error).split())}).") from error
    grids = content.get("grid") if isinstance(content, Mapping) and set(content) <= KEYS else None
    grids = grids if isinstance(grids, list) else [grids]
    if not grids or not all(isinstance(grid, Mapping) and grid for grid in grids):
        raise ConfigError(f"{path}: expected the keys {', '.join(sorted(KEYS))}, and grid with KEY: [values].")
    for key, values in ((key, values) for grid in grids for key, values in grid.items()):
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: grid.{key}: expected a list of values, found {values!r}.")
    grids = [{**grid, SEED: list(seeds)} if seeds else grid for grid in grids]
    out, base = Path(content.get("out", "outputs/ablation")), [*content.get("base", ()), *overrides]
    found: dict[Path, Point] = {}
    for grid in grids:
        for point in _points(grid, base, out):
            found.setdefault(point.folder, point)
    points = list(found.values())
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
    path: Path | str, overrides: list[str] | tuple = (), *, train: Train, truth: Path | str | None = None, data: Path | None = None,
    seeds: Sequence[int] = (), workers: int | WorkerPool = 1, progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Run the unfinished points of a grid and write leaderboard.csv, .md, .html and winner.zip.

    train    trains one point and returns the result of training.loop.train; a function of a module, so that it can be pickled
    truth    CSV file with the labels of the test planets: every point is scored on them too, and compared with the first point
    data     folder of the data set of all points, in place of the settings'
    seeds    two or more, with each of which every point is run; seeds.md then has their means, for which a truth is needed
    workers  number of points run in parallel, or the pool of a cluster

    Returns winner, its composite, counts, failed points and test planets that are left out, with reasons, and the files written, JSON-able.
    Raises ConfigError where every point failed or no test planet is left, and ArchiveError, before the transit fits, for a truth that does
    not match.
    """
    path = find_config(path)
    if seeds and truth is None:
        raise ConfigError("ablate: expected the labels of test planets with --seeds, found none. Give --truth FILE or --world WORLD.")
    points, out, public = load_grid(path, overrides, require_seeds(seeds) if seeds else ())
    if data is not None:
        points = [replace(p, config=replace(p.config, data=replace(p.config.data, root=str(data), light_curves=None))) for p in points]
    out.mkdir(parents=True, exist_ok=True)
    _require_data(points, truth)
    points, left_out = _with_data(points, truth and Path(truth), log)
    waiting = [point for point in points if finished(point) is None]
    log(f"{len(points)} points, {len(points) - len(waiting)} of them already finished")
    failed, tracebacks, kept = {}, {}, len(points) - len(waiting)
    with nullcontext(workers) if isinstance(workers, WorkerPool) else local_pool(workers, patience=None) as pool:
        for done, settled in enumerate(run_tasks(waiting, partial(run_point, train=train), pool), kept + 1):
            point, failure = settled.task, settled.failure
            log(f"point {done} of {len(points)}: {point.name}: {failure or 'done'}")
            if failure:
                failed[point.name] = failure.reason
                tracebacks |= {point.name: failure.traceback} if failure.traceback else {}
            if progress:
                progress(done, len(points))
    good = [point for point in points if point.name not in failed]
    if not good:
        raise ConfigError(f"{path}: expected a point that can be run, found none of {len(points)}: {failed}")
    figures = [{"point": point.name, "public": public.get(point.name), **finished(point)} for point in good]
    if seeds:
        write_atomically(out / SEEDS, points_markdown(figures, points[0].name))
    if truth is not None:
        figures = with_differences(figures, points[0].name)
        write_atomically(out / DIFFERENCES, differences_table(figures, points[0].name, failed, left_out))
    order = write_leaderboard(out, figures, failed)
    winner = good[order[0][0]]
    bundle = write_bundle(out / "winner.zip", winner, out, path)
    files = [*(out / name for name in LEADERBOARD), *([out / DIFFERENCES] if truth else []), *([out / SEEDS] if seeds else []), bundle]
    return {
        "winner": winner.name, "composite": order[0][1], "points": len(points), "ran": len(waiting),
        "kept": kept, "failed": failed, "left_out": left_out, "tracebacks": tracebacks,
        "leaderboard": str(out / "leaderboard.csv"), "bundle": str(bundle), "files": [str(path) for path in files],
    }  # fmt: skip


def _require_data(points: list[Point], truth: Path | str | None) -> None:
    """Raise, before the transit fits, ConfigError for a point without a data folder and ArchiveError for a truth that does not match."""
    if missing := [point.name for point in points if point.config.data.root is None]:
        raise ConfigError(f"data.root: expected a data folder, found none for {missing[0]!r}. Give data.root=DIR.")
    for point in {point.config.data.root: point for point in points}.values() if truth is not None else ():
        read_true_spectra(truth, point.dataset.with_split("test"))


def _with_data(points: list[Point], truth: Path | None, log: Callable[[str], None]) -> tuple[list[Point], dict[str, str]]:
    """The points with the digest of their data and truth, and the test planets that a point lacks, with reasons, if there is a truth.

    The transits are fitted here, once for all points that share them. Raises ConfigError where no test planet is left.
    """
    fitted: dict[tuple, list[tuple[PlanetFits, LabelledSpectra]]] = {}
    found, left_out = [], {}
    for point in points:
        shared = (point.config.calibration.airs_samples, point.config.data.root, point.config.data.light_curves, point.config.data.folder)
        if shared not in fitted:
            fitted[shared] = [
                (_fit(dataset, point.config, point.config.calibration.workers), LabelledSpectra.read(point.dataset))
                for dataset in (point.dataset, point.dataset.with_split("test"))[: 1 + (truth is not None)]
            ]
        parts = [digest_inputs(fits, known, point.config.training.initial_weights) for fits, known in fitted[shared]]
        parts += [sha256(truth) if truth else "", __version__, FORMAT, _device(point.config.training.device)]
        found.append(replace(point, data=" ".join(parts), truth=truth))
    if truth:
        left_out = _left_out([parts[1][0] for parts in fitted.values()])
    for planet, reason in left_out.items():
        log(f"test planet {planet} left out for every point: {reason}")
    return found, left_out


def _left_out(tests: list[PlanetFits]) -> dict[str, str]:
    """Planets that one of the `tests` has no fit of, with reasons. Raises ConfigError where these are all."""
    everywhere = set.intersection(*(set(fits.fits) for fits in tests))
    elsewhere = "it is not in the test split of every point"
    named = {planet: elsewhere for fits in tests for planet in fits.fits if planet not in everywhere}
    for fits in tests:
        named |= fits.failures
    if not everywhere:
        reason = "; such as {}: {}".format(*next(iter(named.items()))) if named else ""
        raise ConfigError(f"ablate: expected a test planet that every point can predict, found none of {len(named)}{reason}")
    return named


def _device(wanted: str) -> str:
    """The kind of device that points are trained on; the automatic bin_width and the last bits depend on it."""
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def finished(point: Point) -> dict | None:
    """The stored figures of a finished point of the same configuration and data, or None."""
    path = point.folder / RESULT
    if not path.is_file():
        return None
    found = json.loads(path.read_bytes())
    same = (found["config_hash"], found.get("data", "")) == (config_hash(point.config), point.data)
    return found["figures"] if same else None


def run_point(point: Point, train: Train) -> None:
    """Train a point, evaluate it on its held-out planets and store the figures that evaluation.leaderboard ranks by."""
    for state in point.folder.glob("state_*.safetensors"):
        state.unlink()
    alone = replace(point.config, calibration=replace(point.config.calibration, workers=1))
    started = time.monotonic()
    result = train(alone, dataset=point.dataset, log=lambda line: None)
    figures = ranking_figures(result) | {"runtime_s": round(time.monotonic() - started, 2), "violations": violated_share(point)}
    if point.truth is not None:
        figures["shares"] = shares_on_test(point)
    text = {"point": point.name, "config_hash": config_hash(point.config), "data": point.data, "figures": figures}
    write_atomically(point.folder / RESULT, json.dumps(text, indent=1))


def ranking_figures(result: Mapping) -> dict[str, float]:
    """validation, coverage_gap, z_error and mae of a training run; with COREL, sigmas are its cross-fitted ones."""
    v50 = result["validation"]["v50"]
    score, stated = v50["score"], v50
    if "corel" in result:
        score, stated = result["corel"]["score"]["corel"], result["corel"]["statistics"]["corel"]
    return {
        "validation": score, "coverage_gap": abs(stated["coverage_80"] - 0.80), "z_error": abs(stated["z_rms"] - 1), "mae": v50["mae"],
    }  # fmt: skip


def _fit(dataset: Dataset, config: Config, workers: int) -> PlanetFits:
    """The transit fits that pass the quality checks: of no other planet is a point trained or judged."""
    settings = CalibrationSettings(airs_samples=config.calibration.airs_samples)
    return fit_planets(dataset, settings=settings, workers=workers).accepted()


def violated_share(point: Point) -> float:
    """Share of the bins of held-out planets that violate a physics rule; lensing_bump, which needs light curves, is left out."""
    checkpoint = Checkpoint.load(point.folder / "weights.safetensors")
    held_out = checkpoint.as_held_out(LabelledSpectra.read(point.dataset))
    planet_fits = _fit(point.dataset.select(list(held_out)), point.config, 1).conditioned_on(held_out)
    answers = [answer(planet_fit, held_out[planet]) for planet, planet_fit in planet_fits.fits.items()]
    mean, sigma = (torch.tensor(np.stack([getattr(a, name) for a in answers])) for name in ("mean", "sigma"))
    found = find_violations(mean, make_context(mean, sigma, torch.tensor(checkpoint.wavelength)))
    broken = torch.stack([violations.flagged for name, violations in found.items() if name != "lensing_bump"])
    return float(broken.any(dim=0).double().mean())


def shares_on_test(point: Point) -> dict[str, float]:
    """By test planet its term of the 2025 score, whose mean is the score. Planets without an acceptable fit are left out."""
    found = _fit(point.dataset.with_split("test"), point.config, 1)
    checkpoint = Checkpoint.load(point.folder / "weights.safetensors").updated_by([fit.estimate for fit in found.fits.values()])
    fits = found.conditioned_on(checkpoint).fits
    answers = [answer(planet_fit, checkpoint) for planet_fit in fits.values()]
    mean, sigma = (np.stack([getattr(a, name) for a in answers]) for name in ("mean", "sigma"))
    naive = naive_answer(point.dataset.labels().depth)
    shares = planet_scores(read_spectra(point.truth).of(fits), {"v50": (mean, sigma)}, naive)["v50"]
    return dict(zip(fits, shares.tolist()))


def write_leaderboard(out: Path, figures: list[dict], failed: Mapping[str, str]) -> list[tuple[int, float]]:
    """Write leaderboard.csv, .md and .html to `out`, best first, failed points in the notes; returns the order of leaderboard.ranked."""
    order = ranked(figures)
    notes = [weights_sentence(figures), CHOSEN, *(f"Failed: {name}: {reason}" for name, reason in failed.items())]
    rows = [{"rank": rank, "composite": score, **figures[n]} for rank, (n, score) in enumerate(order, 1)]
    table = pd.DataFrame(rows)
    shown = table.astype(object).where(table.notna(), "–")
    write_atomically(out / "leaderboard.csv", table.to_csv(index=False))
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v).replace("|", "\\|") for v in row] for row in shown.to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in [list(table), ["---"] * table.shape[1], *cells]]
    write_atomically(out / "leaderboard.md", "\n".join(["\n\n".join(notes), "", *lines]) + "\n")
    write_report(out / "leaderboard.html", title="Ablation", metrics={}, figures={}, tables={"Leaderboard": shown}, notes=notes)
    return order


def write_bundle(path: Path, winner: Point, out: Path, grid: Path) -> Path:
    """Write the winner's weights, manifests and figures to a ZIP file, with fixed time stamps: same files, same bytes."""
    files = {name: winner.folder / name for name in BUNDLED} | {"ablation.yaml": grid}
    files |= {name: out / name for name in LEADERBOARD}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in sorted(files):
            bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return path
