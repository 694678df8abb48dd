"""Everything that is known of a submission → the dashboard. Gathers what lies on disk, computes what does not, draws.

Knows the order of the stages, not their insides.
"""

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.diagnostics.attribution import explain_submission
from ariel_lib.diagnostics.calibration_quality import summarise_visits
from ariel_lib.diagnostics.dashboard import DashboardData, draw_dashboard
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.evaluation.physics_check import detect_bumps_in_planets, make_rule_context
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import sha256
from ariel_lib.io.storage import StorageError, load_arrays, load_metadata
from ariel_lib.io.submission import read_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import naive_answer
from ariel_lib.provenance.record import SUMMARY, read_seconds
from ariel_lib.symbolic.rules import RULES, find_violations, penalty_gradient

EXPLANATION = "explanation.safetensors"
STAR_COLUMNS = ("Ts", "Rs", "P")
CALIBRATION_PLANETS = 100
LIGHT_CURVE_RULE = "lensing_bump"  # the rule that reads light curves


def diagnose(
    *,
    submission: Path | str,
    outdir: Path | str,
    html: Path | str | None = None,
    data: Path | str | None = None,
    split: str = "test",
    truth: Path | str | None = None,
    weights: Path | str | None = None,
    light_curves: Path | str | None = None,
    explained: int = 50,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Write the dashboard of a submission; returns its summary with the page's path and size, JSON-able.

    data      default: the folder that the record beside the submission names
    truth     default: {data}/{split}.csv where it exists
    weights   default: model/weights.safetensors beside the submission. They must be those that made it
    explained planets whose attributions are computed
    An explanation.safetensors beside the submission is taken instead of made.
    Raises SpectraMindError where the files do not belong together, or without the extra [diagnostics].
    """
    if importlib.util.find_spec("bokeh") is None:
        raise SpectraMindError("the dashboard needs Bokeh: pip install 'spectramind[diagnostics]' adds it")
    submission, outdir = Path(submission), Path(outdir)
    page, started = Path(html) if html else outdir / "v50_report_v1.html", time.monotonic()
    planets, mean, sigma = read_submission(submission)
    record = _record(submission)
    source, missing = record.get("source", {}), {}
    archive = Archive(_data_folder(submission, data, source))
    truth = Path(truth) if truth else archive.root / f"{split}.csv"
    labels, naive = _labels(archive, truth)
    known = None if labels is None else labels.of(planets)
    weights = Path(weights) if weights else submission.parent / "model" / "weights.safetensors"
    seconds = read_seconds([folder / SUMMARY for folder in (archive.root, weights.parent, submission.parent)])
    clock = time.monotonic()
    explanation, who = _explanation(
        submission, outdir, weights, source, missing, data=archive.root, split=split, planets=planets,
        light_curves=light_curves, explained=explained, seed=seed, workers=workers, progress=progress,
    )  # fmt: skip
    if explanation and not (submission.parent / EXPLANATION).is_file():
        seconds["explain"] = time.monotonic() - clock
    curves = _light_curves(archive, submission, split, light_curves, missing)
    detections = _detect_bumps(archive, submission, split, planets, curves, workers)
    if detections is not None and None in detections:
        missing[LIGHT_CURVE_RULE] = f"{detections.count(None)} of {len(planets)} planets have no light curves; their rows are blank"
    deviations, limits, gradients = _rules(mean, sigma, archive.wavelengths(), detections)
    evidence = DashboardData(
        planets, archive.wavelengths(), mean, sigma, known, naive, _configuration(weights, submission, archive.root),
        _stars(archive, split, planets), explanation, who, deviations, limits, gradients,
        None if curves is None else summarise_visits(curves, split, planets[:CALIBRATION_PLANETS], archive), seconds, missing,
    )  # fmt: skip
    summary = draw_dashboard(page, evidence, seed=seed)
    return {
        "html": str(page), "bytes": page.stat().st_size, "planets": summary["planets"], "metrics": summary["metrics"],
        "missing": summary["missing"], "files": summary["files"], "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def _record(submission: Path) -> dict:
    path = submission.with_suffix(".json")
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _data_folder(submission: Path, data, source: dict) -> Path:
    if data is None and "data" not in source:
        raise ArchiveError(submission.with_suffix(".json"), "a record that names the data", "none", "Give --data FOLDER.")
    return Path(data or source["data"])


def _labels(archive: Archive, truth: Path):
    """True spectra or None, and the naive answer: of the training labels, else of the truth."""
    labels = read_spectra(truth) if truth.is_file() else None
    train = archive.root / "train.csv"
    known = read_spectra(train) if train.is_file() else labels
    return labels, {} if known is None else naive_answer(known.depth)


def _explanation(submission: Path, outdir: Path, weights: Path, source: dict, missing: dict, **how) -> tuple[dict, list[str]]:
    path = submission.parent / EXPLANATION
    if not path.is_file():
        if not weights.is_file():
            missing["explanation"] = f"{weights}: no such file; --weights names the weights that made the submission"
            return {}, []
        if source.get("weights", sha256(weights)) != sha256(weights):
            raise SpectraMindError(f"{weights}: expected the weights that made {submission}, found others. Predict again, or give --weights.")
        path = explain_submission(weights=weights, out=outdir / path.name, scratch=submission.parent, **how)
    arrays, text = load_arrays(path)
    who = json.loads(text["planet_ids"])
    if unknown := set(who) - set(how["planets"]):
        raise SpectraMindError(f"{path}: expected planets of {submission} only, found {len(unknown)} others. Remove it: it is of another run.")
    return arrays, who


def _light_curves(archive: Archive, submission: Path, split: str, light_curves, missing: dict) -> Path | None:
    """The folder that holds the split's light curves, or None, and then what cannot be drawn without them."""
    folders = [Path(light_curves)] if light_curves else [archive.root / "lightcurves", submission.parent / "lightcurves"]
    folder = next((folder for folder in folders if (folder / split).is_dir()), None)
    if folder is None:
        why = f"no light curves under {' or '.join(map(str, folders))}"
        missing |= {LIGHT_CURVE_RULE: f"not computed: {why}", "calibration_quality": why}
    return folder


def _detect_bumps(archive: Archive, submission: Path, split: str, planets, curves: Path | None, workers: int) -> list | None:
    """What the microlensing guard saw of each planet, None where it saw none; None altogether without light curves."""
    if curves is None:
        return None
    found = detect_bumps_in_planets(archive, split, curves, submission.parent / "estimates" / split, planets, workers)
    return [found.get(planet) for planet in planets]


def _rules(mean: np.ndarray, sigma: np.ndarray, wavelength: np.ndarray, detections: list | None) -> tuple[dict, dict, dict]:
    """Deviations, limits and ∂L/∂μ by rule; the guard's only where there are light curves, NaN for planets without."""
    seen = [None] * len(mean) if detections is None else detections
    mu, context = make_rule_context(mean, sigma, wavelength, [one or () for one in seen])
    names = [name for name in RULES if name != LIGHT_CURVE_RULE or detections is not None]
    found = find_violations(mu, context)
    deviations = {name: found[name].sigmas.numpy() for name in names}
    if detections is not None:
        deviations[LIGHT_CURVE_RULE][[one is None for one in seen]] = np.nan
    gradients = {name: penalty_gradient(name, mu, context).numpy() for name in names}
    return deviations, {name: RULES[name].limit for name in names}, gradients


def _stars(archive: Archive, split: str, planets) -> pd.DataFrame | None:
    try:
        stars = [archive.star(split, planet) for planet in planets]
    except ArchiveError:
        return None
    if None in stars:
        return None
    return pd.DataFrame({"planet": planets} | {name: [getattr(star, name) for star in stars] for name in STAR_COLUMNS})


def _configuration(weights: Path, submission: Path, data: Path) -> dict:
    config = {"submission": str(submission), "submission_sha256": sha256(submission), "data": str(data)}
    try:
        return config | {"weights": str(weights), "training": json.loads(load_metadata(weights)["config"])}
    except (StorageError, KeyError):
        return config | {"weights": None}
