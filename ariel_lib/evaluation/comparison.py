"""V50 compared with baselines: trained on the same planets, scored on the same test planets, errors by bootstrap.

Every method takes the same temperature step: factors on its sigmas fitted to its answers for the planets that V50's training held out,
made without their labels. The oracles, which have the truth, take none.
"""

import csv
import importlib.util
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.config import Config, ConfigError
from ariel_lib.errors import SpectraMindError
from ariel_lib.evaluation.oracle import ORACLES, has_orbit, oracle_answers, read_truth
from ariel_lib.evaluation.score import read_true_spectra
from ariel_lib.evaluation.seeds import require_seeds, seeds_markdown, tabulate_seeds
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import load_arrays, write_atomically
from ariel_lib.io.submission import read_submission
from ariel_lib.metrics import bootstrap_error, naive_answer, planet_scores, summary
from ariel_lib.models.baselines import BASELINES, ConstantSpectrum, answer_of, white_depth
from ariel_lib.models.features import scale_of, star_features
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits, fit_planets
from ariel_lib.plots.figures import draw_comparison, render_png
from ariel_lib.prediction.predict import predict
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.simulator.dataset import TRUTH_FILE
from ariel_lib.training.loop import train
from ariel_lib.training.network import require_trainable
from ariel_lib.uncertainty.temperature import PRIOR_STRENGTH, Temperature, fit_temperature

COLUMNS = ("score", "score_error", "v50_lead", "v50_lead_error", "nll", "mae", "rmse_ppm", "coverage_80", "z_rms")
COLUMNS += ("temperature", "parameters", "train_s", "answer_s")
DEPTH_SCALE = 1e-4
SCORES = "scores.json"  # answer → planet → its term of the score

Answers = dict[str, tuple[np.ndarray, np.ndarray]]


def compare(
    dataset: Dataset, config: Config, truth: Path | str, *, workers: int = 1, progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = print,
) -> dict:  # fmt: skip
    """Train V50 and every baseline on a labelled data set, predict its test split, and score against `truth`.

    truth  CSV file with the labels of the test planets

    Writes comparison.csv, .md, .json and .png, and scores.json with the score of each planet, under config.training.out; returns
    {"planets", "table": {method: figures}}, JSON-able. `v50_lead` is V50's score minus the method's, with its paired error; `temperature`
    the overall factor on the method's sigmas, all 1 with calibration.temperature=false. The test planets, which chose and calibrated
    nothing, give the figures. V50's times include its closed forms, not calibration and fits. For a simulated data set the table also
    holds evaluation.oracle's answers; where they cannot be had for every planet they are left out, which "note" says.

    All rows are of the same planets: a test planet without a transit fit that passes the quality checks, or that V50 does not answer, is
    left out of every row and named, with its reason, in the log, under "left_out" and in comparison.md.
    Raises, before the transit fits, ConfigError without scikit-learn and for settings that cannot be trained with, ArchiveError where
    truth lacks a planet; and before the training SpectraMindError where no test planet is left.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigError("compare: expected scikit-learn, found none. pip install 'spectramind[diagnostics]'")
    out, test = Path(config.training.out), dataset.with_split("test")
    labels, true_spectra = dataset.labels(), dict(zip(test.planets, read_true_spectra(truth, test)))
    require_trainable(config, labels.planet_ids, dataset.wavelengths)
    settings = CalibrationSettings(airs_samples=config.calibration.airs_samples)
    training_fits, test_fits = (  # not timed
        fit_planets(part, settings=settings, workers=workers, progress=progress).accepted() for part in (dataset, test)
    )
    judged, naive = test.select(_judged(test_fits, log)), naive_answer(labels.depth)
    oracles, note = _oracles(judged, labels.depth, log)
    trained, unanswered, answers, cost = _v50_answers(dataset, judged, config, workers, progress, log)
    answered = {planet: planet_fit for planet, planet_fit in test_fits.fits.items() if planet not in unanswered}
    planets = _judged(PlanetFits(answered, unanswered), log)
    expected, kept = np.stack([true_spectra[planet] for planet in planets]), np.isin(judged.planets, planets)
    temperatures = {name: Temperature.from_dict(values) for name, values in trained["temperatures"].items()}
    answers |= {name: (mean[kept], sigma[kept]) for name, (mean, sigma) in oracles.items()}
    checkpoint = Checkpoint.load(out / "weights.safetensors")
    updated = checkpoint.updated_by([planet_fit.estimate for planet_fit in test_fits.fits.values()])  # as predict does
    held_out, new = checkpoint.as_held_out(LabelledSpectra.read(dataset)), test_fits.conditioned_on(updated).fits
    if checkpoint.initial_estimate == "mixture":
        answers["library_posterior"] = _library_posterior(checkpoint, [new[planet] for planet in planets])
    known = training_fits.conditioned_on({planet: held_out.get(planet, checkpoint) for planet in training_fits.fits}).fits
    known = {planet: known[planet] for planet in labels.planet_ids if planet in known}
    calibrating = np.array([planet in held_out for planet in known]) & config.calibration.temperature
    baselines, own, spent = answer_baselines(
        list(known.values()), labels.of(known), [new[planet] for planet in planets], calibrating, naive, log
    )
    temperatures |= own
    calibrated = _calibrated(baselines | answers, temperatures)
    table = tabulate(expected, calibrated, naive)
    scores = {name: dict(zip(planets, found.tolist())) for name, found in planet_scores(expected, calibrated, naive).items()}
    for name, figures in ({"v50": cost} | spent).items():
        table[name] |= figures
    for name in table.keys() & temperatures.keys():
        table[name]["temperature"] = temperatures[name].overall
    left_out = test_fits.failures | unanswered
    result = {"planets": {"training": len(known), "test": len(planets)}, "left_out": left_out, "table": table, **note}
    write_atomically(out / SCORES, json.dumps(scores, indent=1))
    _write(out, result)
    return result


def compare_seeds(
    dataset: Dataset, config: Config, truth: Path | str, seeds: Sequence[int], *, log: Callable[[str], None] = print, **settings
) -> dict:
    """compare for each training seed, in a folder seed_N of training.out, and seeds.json and seeds.md of all.

    Fits are shared. Returns {"seeds", "planets", "left_out", "table"}, JSON-able; a test planet that one seed lacks is left out of all.
    """
    out, scores, left_out = Path(config.training.out), [], {}
    for seed in require_seeds(seeds):
        log(f"training seed {seed}")
        one = replace(config, training=replace(config.training, seed=seed, out=str(out / f"seed_{seed}")))
        left_out |= compare(dataset, one, truth, log=log, **settings)["left_out"]
        scores.append(json.loads((out / f"seed_{seed}" / SCORES).read_bytes()))
    table, planets = tabulate_seeds(scores, "v50")
    result = {"seeds": list(seeds), "planets": len(planets), "left_out": left_out, "table": table}
    write_atomically(out / "seeds.json", json.dumps(result, indent=1))
    write_atomically(out / "seeds.md", seeds_markdown(table, "answer", "v50"))
    return result


def _write(out: Path, result: dict) -> None:
    """Write comparison.json, .csv, .md and .png."""
    table, left_out = result["table"], "".join(f"\nLeft out of every row: {p}: {why}\n" for p, why in result["left_out"].items())
    write_atomically(out / "comparison.json", json.dumps(result, indent=1))
    write_atomically(out / "comparison.csv", as_csv(table))
    write_atomically(out / "comparison.md", as_markdown(table) + left_out)
    write_atomically(out / "comparison.png", render_png(draw_comparison(_in_order(table))))


def _calibrated(answers: Answers, temperatures: Mapping[str, Temperature]) -> Answers:
    """The answers with their temperatures; V50's have it already, and the oracles have none."""
    unchanged = {"v50": answers["v50"]}
    return {
        name: (mean, temperatures[name].apply(sigma)) if name in temperatures else (mean, sigma) for name, (mean, sigma) in answers.items()
    } | unchanged


def _judged(fits: PlanetFits, log: Callable[[str], None]) -> list[str]:
    """The test planets with a fit; logs the others as left out. Raises SpectraMindError where none is left."""
    for planet, reason in fits.failures.items():
        log(f"test planet {planet} left out of every row: {reason}")
    if not fits.fits:
        planet, reason = next(iter(fits.failures.items()))
        raise SpectraMindError(
            f"compare: expected a test planet that every method can answer, found none of {len(fits.failures)}, such as {planet}: {reason}"
        )
    return list(fits.fits)


def _oracles(test: Dataset, labels: np.ndarray, log: Callable[[str], None]) -> tuple[Answers, dict[str, str]]:
    """The oracles' answers for the test planets and, where they lack what they need of one in a simulation, a note instead."""
    simulated = read_truth(test.root, test.split)
    unknown = {planet: f"{test.root / TRUTH_FILE} does not list it" for planet in test.planets if planet not in simulated}
    unknown |= {planet: "the star table has no orbit of it" for planet in test.planets if not has_orbit(test.find_star(planet)[0])}
    if simulated and not unknown:
        return oracle_answers(test, labels), {}
    if not simulated:
        return {}, {}
    note = "no oracles: {} test planets lack what they need, such as {}: {}".format(len(unknown), *next(iter(unknown.items())))
    log(note)
    return {}, {"note": note}


def _v50_answers(
    dataset: Dataset, test: Dataset, config: Config, workers: int, progress, log
) -> tuple[dict, dict[str, str], Answers, dict]:
    """Train V50 and predict the test split. Returns the result of `train`; reasons of planets without V50's answer; for the others, in the
    order of test.planets, V50's answers, with its temperature, and those of its closed forms, without; and V50's cost."""
    clock, submission = time.monotonic(), Path(config.training.out) / "submission.csv"
    trained = train(dataset, config, progress=progress, log=log)
    answering = time.monotonic()
    predicted = predict(test, weights=trained["weights"], out=submission, workers=workers, log=log)
    cost = {
        "parameters": trained["parameters"], "train_s": round(answering - clock, 1), "answer_s": round(time.monotonic() - answering, 1)
    }  # fmt: skip
    unanswered = predicted["fallbacks"] | predicted["closed_form"]
    if len(unanswered) == len(test.planets):
        return trained, unanswered, {}, cost
    rows, mean, sigma = read_submission(submission)
    extras, text = load_arrays(submission.with_suffix(".safetensors"))
    planets, answered = [planet for planet in test.planets if planet not in unanswered], json.loads(text["planet_ids"])
    mean, sigma = (array[[rows.index(planet) for planet in planets]] for array in (mean, sigma))
    extras = {name: array[[answered.index(planet) for planet in planets]] for name, array in extras.items()}
    answers = {
        "gaussian_posterior": (np.maximum(extras["gaussian_mean"], 0.0), extras["gaussian_sigma"]),
        text["initial_estimate"]: (np.maximum(extras["initial_mean"], 0.0), extras["initial_sigma"]),
        "v50": (mean, sigma),
    }
    return trained, unanswered, answers, cost


def _library_posterior(checkpoint: Checkpoint, fits: list[PlanetFit]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma (planet, wavelength) of the library inside a mixture, without temperature."""
    found = []
    for fit in fits:
        known = checkpoint.initial_prior.library.conditioned_on(fit.estimate.covariance, scale_of(fit.star, fit.estimate))
        found.append(known.moments(fit.estimate.depth[None])[:2])
    mean, sigma = (np.concatenate(arrays) for arrays in zip(*found))
    return np.maximum(mean, 0.0), sigma


def answer_baselines(
    training: list[PlanetFit], truth: np.ndarray, test: list[PlanetFit], calibrating: np.ndarray, naive: Mapping[str, float],
    log: Callable[[str], None],
) -> tuple[Answers, dict[str, Temperature], dict[str, dict]]:  # fmt: skip
    """Every baseline's answer for the test planets, without temperature; the temperatures of those that are trained, and the costs:
    parameters, seconds of training and of prediction.

    truth        (planet, wavelength) labels of the training planets
    calibrating  (planet,) bool, the training planets whose cross-validated answers calibrate the sigmas; none: no temperature
    naive        naive_mean and naive_sigma
    """
    white, white_test = (
        np.array([white_depth(p.estimate.depth, p.estimate.sigma_uncorrelated) for p in fits]) for fits in (training, test)
    )
    features, features_test = (np.array([baseline_features(p) for p in fits]) for fits in (training, test))
    answers = {"constant": ConstantSpectrum.fit(white, truth).predict(white_test, truth.shape[1])}
    temperatures, costs = {}, {"constant": {"parameters": 1}}
    for name, baseline in BASELINES.items():
        found = answer_of(baseline, features, white, truth, features_test, white_test)
        answers[name], temperatures[name] = (found.mean, found.sigma), temperature_of(found.residual, truth, calibrating, naive)
        costs[name] = {"parameters": found.parameters, "train_s": round(found.train_s, 1), "answer_s": round(found.answer_s, 2)}
        log(f"{name}: {found.train_s:.0f} s")
    return answers, temperatures, costs


def temperature_of(residual: np.ndarray, truth: np.ndarray, calibrating: np.ndarray, naive: Mapping[str, float]) -> Temperature:
    """Temperature of a baseline, fitted to its cross-validated answers for planets `calibrating`, with the sigmas of the others.

    residual, truth  (planet, wavelength) of the training planets
    calibrating      (planet,) bool
    """
    if not calibrating.any():
        return Temperature()
    mean = np.maximum((truth - residual)[calibrating], 0.0)
    sigma = np.tile(np.sqrt(np.mean(residual[~calibrating] ** 2, axis=0)), (len(mean), 1))
    return fit_temperature(mean, sigma, truth[calibrating], **naive, prior_strength=PRIOR_STRENGTH)


def baseline_features(planet_fit: PlanetFit) -> np.ndarray:
    """(feature,): a planet's depths relative to white light in groups of bins, their noise, and features of star and fit."""
    estimate = planet_fit.estimate
    white = white_depth(estimate.depth, estimate.sigma_uncorrelated)
    groups = np.array_split(np.arange(1, len(estimate.depth)), min(47, len(estimate.depth) - 1))
    weights = estimate.sigma_uncorrelated**-2
    bands = np.array([np.average(estimate.depth[g] - white, weights=weights[g]) for g in groups])
    noise = np.array([np.sum(weights[g]) ** -0.5 for g in groups])
    relative = np.concatenate([[estimate.depth[0] - white], bands])
    star = star_features(planet_fit.star, estimate, float(np.std(bands)) + 1e-7)
    return np.concatenate([np.arcsinh(relative / DEPTH_SCALE), np.log10(noise / DEPTH_SCALE), star])


def tabulate(truth: np.ndarray, answers: Answers, naive: Mapping[str, float]) -> dict[str, dict]:
    """Figures of each answer, V50's lead over it, and bootstrap standard errors of score and (paired) lead.

    truth    (planet, wavelength)
    answers  must contain "v50"
    naive    naive_mean and naive_sigma
    """
    gain = planet_scores(truth, answers, naive)
    table = {}
    for name, answer in answers.items():
        lead = gain["v50"] - gain[name]
        table[name] = summary(truth, *answer, **naive) | {
            "score_error": bootstrap_error(gain[name]), "v50_lead": float(lead.mean()), "v50_lead_error": bootstrap_error(lead),
        }  # fmt: skip
    return table


def as_csv(table: Mapping[str, Mapping]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["answer", *COLUMNS])
    for name, row in table.items():
        writer.writerow([name, *(row.get(column, "") for column in COLUMNS)])
    return text.getvalue()


def as_markdown(table: Mapping[str, Mapping]) -> str:
    """The table in Markdown: baselines by score, then V50, then the oracles."""
    heads = ("answer", "score", "V50's lead", "NLL", "MAE, ppm", "coverage of 80 %", "z rms", "parameters", "training, s", "answering, s")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, row in _in_order(table).items():
        lead = "" if name == "v50" else f"{row['v50_lead']:.4f} ± {row['v50_lead_error']:.4f}"
        costs = " | ".join(str(row.get(cost, "")) for cost in ("parameters", "train_s", "answer_s"))
        lines.append(
            f"| {name} | {row['score']:.4f} ± {row['score_error']:.4f} | {lead} | {row['nll']:.3f} | {1e6 * row['mae']:.1f} "
            f"| {row['coverage_80']:.3f} | {row['z_rms']:.2f} | {costs} |"
        )
    return "\n".join(lines) + "\n"


def _in_order(table: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return dict(sorted(table.items(), key=lambda item: (item[0] in ORACLES, item[0] == "v50", item[1]["score"])))
