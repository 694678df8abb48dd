"""The dashboard of a submission: collects its data from files on disk, computes what is missing, and draws the page."""

import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.diagnostics.attribution import AttributionSettings, explain_planets
from ariel_lib.diagnostics.calibration_quality import summarise_visits
from ariel_lib.diagnostics.dashboard import DashboardData, draw_dashboard
from ariel_lib.errors import SpectraMindError
from ariel_lib.evaluation.physics_check import detect_bumps_in_planets, make_rule_context
from ariel_lib.evaluation.score import NOT_THE_CHALLENGES
from ariel_lib.execution.workers import Failure
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import StorageError, load_arrays, load_metadata
from ariel_lib.io.submission import read_submission
from ariel_lib.io.submission_record import EXPLANATION, SubmissionRecord
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_answer
from ariel_lib.provenance.record import SUMMARY, read_seconds
from ariel_lib.symbolic.rules import RULES, find_violations, penalty_gradient

STAR_COLUMNS = ("Ts", "Rs", "P")
CALIBRATION_PLANETS = 100
UNREAD_NAMED = 3  # planets, on the page
LIGHT_CURVE_RULE = "lensing_bump"  # the rule that needs light curves


@dataclass
class Gathered:
    """Seconds by stage, the reason for each part that cannot be drawn, and what cannot be read of a planet, with tracebacks of defects."""

    seconds: dict[str, float]
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, str] = field(default_factory=dict)

    def add_unread(self, failures: Mapping[str, Failure]) -> None:
        """Add failures by planet; the first one of a planet is kept."""
        self.unread |= {planet: failure.reason for planet, failure in failures.items() if planet not in self.unread}
        self.tracebacks |= {planet: failure.traceback for planet, failure in failures.items() if failure.traceback}


def diagnose(
    submission: SubmissionRecord,
    dataset: Dataset,
    outdir: Path | str,
    *,
    html: Path | str | None = None,
    attribution: AttributionSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Write the dashboard of a submission; returns its summary with the page's path and size, JSON-able.

    submission   with truth and weights
    dataset      from submission.dataset()
    html         the page; default: v50_report_v1.html in outdir
    attribution  settings of the explanation, which is computed unless explanation.safetensors lies beside the submission

    A planet that the true spectra lack is left out of the page, and is under "unread"; the page has no errors where they lack all.
    Raises SpectraMindError where files do not belong together, or without the extra [diagnostics].
    """
    if importlib.util.find_spec("bokeh") is None:
        raise SpectraMindError("the dashboard needs Bokeh: pip install 'spectramind[diagnostics]' adds it")
    outdir, attribution = Path(outdir), attribution or AttributionSettings()
    page, started = Path(html) if html else outdir / "v50_report_v1.html", time.monotonic()
    planets, mean, sigma = read_submission(submission.path)
    dataset = dataset.select(planets)
    dataset.require_light_curves()
    folders = (dataset.root, submission.weights_path.parent, submission.path.parent)
    gathered = Gathered(read_seconds([folder / SUMMARY for folder in folders]))
    truth, naive = _labels(dataset, submission, gathered)
    explanation, explained = _explanation(submission, dataset, outdir, attribution, gathered, workers, progress)
    truth, unlabelled = _known(truth, planets, gathered)
    if unlabelled:
        rows, planets = np.array([planet not in unlabelled for planet in planets]), [p for p in planets if p not in unlabelled]
        mean, sigma, dataset = mean[rows], sigma[rows], dataset.select(planets)
        rows, explained = [n for n, p in enumerate(explained) if p not in unlabelled], [p for p in explained if p not in unlabelled]
        explanation = {name: array[rows] for name, array in explanation.items() if rows}
    detections = _detections(dataset, gathered, workers)
    deviations, limits, gradients = _rules(mean, sigma, dataset.wavelengths, detections)
    quality = _calibration_quality(dataset, gathered)
    if gathered.unread:
        names = ", ".join(list(gathered.unread)[:UNREAD_NAMED])
        gathered.missing["planets"] = f"{len(gathered.unread)} could not be read in full, such as {names}: see `remarks` in the manifest"
    dashboard_data = DashboardData(
        planets, dataset.wavelengths, mean, sigma, None if truth is None else truth.of(planets), naive,
        _configuration(submission, dataset), _stars(dataset), explanation, explained, deviations, limits, gradients,
        quality, gathered.seconds, gathered.missing,
    )  # fmt: skip
    summary = draw_dashboard(page, dashboard_data, seed=attribution.seed)
    return {
        "html": str(page), "bytes": page.stat().st_size, "planets": summary["planets"], "metrics": summary["metrics"],
        "missing": summary["missing"], "unread": unlabelled | gathered.unread, "tracebacks": gathered.tracebacks, "files": summary["files"],
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _labels(dataset: Dataset, submission: SubmissionRecord, gathered: Gathered):
    """True spectra or None, and the naive answer from the training labels, else from the truth, which is noted."""
    truth = submission.truth or dataset.root / f"{dataset.split}.csv"
    labels = read_spectra(truth) if submission.truth or truth.is_file() else None  # one that was named has to be there
    train = dataset.root / "train.csv"
    if labels is not None and not train.is_file():
        gathered.missing["training labels"] = f"{train}: no such file; the score is {NOT_THE_CHALLENGES}"
    known = read_spectra(train) if train.is_file() else labels
    return labels, {} if known is None else naive_answer(known.depth)


def _known(truth: Spectra | None, planets: Sequence[str], gathered: Gathered) -> tuple[Spectra | None, dict[str, str]]:
    """The true spectra, None where they have none of the planets, and the planets that they lack, with reasons, where they have some."""
    if truth is None:
        return None, {}
    without = [planet for planet in planets if planet not in set(truth.planet_ids)]
    if not without:
        return truth, {}
    if len(without) == len(planets):
        gathered.missing["true spectra"] = f"of none of the {len(planets)} planets, such as {without[0]}"
        return None, {}
    names = ", ".join(without[:UNREAD_NAMED])
    gathered.missing["true spectra"] = f"of {len(without)} planets, such as {names}: they are left out of this page, see `remarks`"
    return truth, dict.fromkeys(without, "left out of the page: no true spectrum")


def _explanation(
    submission: SubmissionRecord, dataset: Dataset, outdir: Path, settings: AttributionSettings, gathered: Gathered, workers: int, progress
) -> tuple[dict, list[str]]:
    """Arrays of attribution.explain and their planets: read from beside the submission where they are of its weights, else computed."""
    path, weights = submission.path.parent / EXPLANATION, submission.weights_path
    if not path.is_file() or not _is_of_weights(path, submission):
        if not weights.is_file():
            gathered.missing["explanation"] = f"{weights}: no such file; give the weights of the submission with --weights"
            return {}, []
        if submission.source.get("weights", sha256(weights)) != sha256(weights):
            raise SpectraMindError(
                f"{weights}: expected the weights of {submission.path}, found others. Predict again, or give --weights."
            )
        clock = time.monotonic()
        path, failed = explain_planets(
            dataset, weights, outdir / path.name, settings, population=submission.population(), workers=workers, progress=progress
        )  # fmt: skip
        gathered.add_unread(failed)
        gathered.seconds["explain"] = time.monotonic() - clock
    arrays, text = load_arrays(path)
    explained = json.loads(text["planet_ids"])
    if unknown := set(explained) - set(dataset.planets):
        raise SpectraMindError(
            f"{path}: expected planets of {submission.path} only, found {len(unknown)} others. Remove it: it belongs to another run."
        )
    return arrays, explained


def _is_of_weights(path: Path, submission: SubmissionRecord) -> bool:
    """Whether a stored explanation is of the weights of the submission; those of earlier versions do not say."""
    known = submission.source.get("weights")
    return not known or json.loads(load_metadata(path).get("weights", json.dumps(known))) == known


def _detections(dataset: Dataset, gathered: Gathered, workers: int) -> list | None:
    """Bump detections in the light curves of each planet, None for a planet without any; None if there are no light curves at all."""
    if not dataset.light_curve_visits:
        why = f"no light curves under {dataset.light_curve_folder / dataset.split}"
        gathered.missing |= {LIGHT_CURVE_RULE: f"not computed: {why}", "calibration_quality": why}
        return None
    search = detect_bumps_in_planets(dataset, workers)
    found = search.detections
    if without := [planet for planet in dataset.planets if planet not in found]:
        gathered.missing[LIGHT_CURVE_RULE] = f"{len(without)} of {len(dataset.planets)} planets have no light curves; their rows are empty"
    gathered.add_unread(search.unread)
    return [found.get(planet) for planet in dataset.planets]


def _calibration_quality(dataset: Dataset, gathered: Gathered) -> pd.DataFrame | None:
    """calibration_quality.summarise_visits of the first planets; None without light curves."""
    if "calibration_quality" in gathered.missing:
        return None
    table, failed = summarise_visits(dataset.select(dataset.planets[:CALIBRATION_PLANETS]))
    gathered.add_unread(failed)
    return table


def _rules(mean: np.ndarray, sigma: np.ndarray, wavelength: np.ndarray, detections: list | None) -> tuple[dict, dict, dict]:
    """Deviations, limits and ∂L/∂μ by rule; lensing_bump only where there are light curves, NaN for planets without."""
    by_planet = [None] * len(mean) if detections is None else detections
    mu, context = make_rule_context(mean, sigma, wavelength, [one or () for one in by_planet])
    names = [name for name in RULES if name != LIGHT_CURVE_RULE or detections is not None]
    found = find_violations(mu, context)
    deviations = {name: found[name].sigmas.numpy() for name in names}
    if detections is not None:
        deviations[LIGHT_CURVE_RULE][[one is None for one in by_planet]] = np.nan
    gradients = {name: penalty_gradient(name, mu, context).numpy() for name in names}
    return deviations, {name: RULES[name].limit for name in names}, gradients


def _stars(dataset: Dataset) -> pd.DataFrame | None:
    """STAR_COLUMNS of every planet, NaN where the star table has no value; None for a data set without stars."""
    stars = [dataset.find_star(planet)[0] for planet in dataset.planets]
    if not any(stars):
        return None
    columns = {name: [getattr(star, name, np.nan) for star in stars] for name in STAR_COLUMNS}
    return pd.DataFrame({"planet": dataset.planets} | columns)


def _configuration(submission: SubmissionRecord, dataset: Dataset) -> dict:
    """Paths, SHA-256 of the submission, and the configuration in the weights, for display."""
    config = {"submission": str(submission.path), "submission_sha256": sha256(submission.path), "data": str(dataset.root)}
    try:
        weights = submission.weights_path
        return config | {"weights": str(weights), "training": json.loads(load_metadata(weights)["config"])}
    except (StorageError, KeyError):
        return config | {"weights": None}
