"""What a population of drifts in a rich basis is worth against cubics, on light curves with truth.

    spectramind simulate --level lightcurves --labels LABELS.csv --systematics polynomial+ramp+thermal+granulation --out DATA …
    python benchmarks/drift.py --data DATA [--out build/drift --workers 2 --training 400]

All visits of both splits teach the population, without labels, and the labelled ones the bias of the depths that all planets share; the
test planets are judged. The same transit fits are conditioned on

cubic    a population whose drifts are cubics in time
learned  the population with all functions of time, as training and prediction have it

and answered by the posterior of the library of the training labels, without any network or temperature; learned_gaussian and
learned_mixture are the posteriors of the other priors behind the learned population. Beside them stand the oracles
of evaluation/oracle.py, which know the nuisance parameters or their distributions, with a Gaussian spectral prior. Prints one JSON,
and writes it to OUT/drift.json: score, z rms of FGS1 and AIRS, coverage, error of the white depth in ppm, and paired differences of
the scores from those of learned with their bootstrap errors over planets.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from ariel_lib.config import PRIORS
from ariel_lib.evaluation.oracle import oracle_answers
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import Stored, write_atomically
from ariel_lib.metrics import bootstrap_error, coverage, naive_answer, planet_scores, rmse_ppm, z_scores
from ariel_lib.models.features import scale_of
from ariel_lib.pipeline.planet_fits import PlanetFit, fit_planets
from ariel_lib.priors.registry import fit_initial_prior
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.population.multiplicative_bias import fit_multiplicative_bias
from ariel_lib.transit.population.nuisance_prior import fit_nuisance_prior
from ariel_lib.transit.segments import POLYNOMIALS, TREND_ORDER

ANSWERS = {"cubic": POLYNOMIALS, "learned": TREND_ORDER}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/drift"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--training", type=int, help="number of training planets whose light curves are used, the first ones; default: all")
    options = parser.parse_args()
    splits = [Dataset(options.data, split, scratch=options.out) for split in ("train", "test")]
    splits[0] = splits[0].select(splits[0].planets[: options.training])
    fits = [fit_planets(dataset, workers=options.workers).accepted().fits for dataset in splits]
    known = LabelledSpectra.read(splits[0])
    priors = {name: fit_initial_prior(name, known.labels.depth, splits[0].wavelengths, known.scale) for name in PRIORS}
    truth, naive = splits[1].labels().of(fits[1]), naive_answer(known.labels.depth)
    estimates, answers, seconds = [fit.estimate for part in fits for fit in part.values()], {}, {}
    for name, functions in ANSWERS.items():
        start = time.perf_counter()
        population = fit_nuisance_prior(estimates, functions)
        labelled = [population.condition(fit.estimate) for fit in fits[0].values()]
        bias = fit_multiplicative_bias(labelled, known.labels.of(fits[0]), splits[0].wavelengths)
        corrections = PopulationCorrections(population, bias)
        seconds[name] = round(time.perf_counter() - start, 1)
        answers[name] = answer(list(fits[1].values()), corrections, priors["library"])
    for name in ("gaussian", "mixture"):
        answers[f"learned_{name}"] = answer(list(fits[1].values()), corrections, priors[name])
    judged = splits[1].select(list(fits[1]))
    answers |= oracle_answers(judged, known.labels.depth)
    result = {"planets": [len(part) for part in fits], "population_s": seconds} | judge(truth, answers, naive)
    write_atomically(options.out / "drift.json", json.dumps(result, indent=1).encode())
    print(json.dumps(result, indent=2))


def answer(fits: list[PlanetFit], corrections: PopulationCorrections, prior: Stored) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma (planet, wavelength) of the posterior under a spectral prior of fits conditioned on corrections."""
    found = []
    for fit in fits:
        estimate = corrections.condition(fit.estimate)
        mean, sigma, _ = prior.conditioned_on(estimate.covariance, scale_of(fit.star, estimate)).moments(estimate.depth[None])
        found.append((mean[0], sigma[0]))
    mean, sigma = zip(*found)
    return np.array(mean), np.array(sigma)


def judge(truth: np.ndarray, answers: dict[str, tuple[np.ndarray, np.ndarray]], naive: dict[str, float]) -> dict:
    """Figures of each answer and the paired difference of their scores."""
    scores, result = planet_scores(truth, answers, naive), {}
    for name, (mean, sigma) in answers.items():
        z, white = z_scores(truth, mean, sigma), 1e6 * np.mean((mean - truth)[:, 1:], axis=1)
        result[name] = {
            "score": float(scores[name].mean()), "z_rms_fgs1": float(np.sqrt(np.mean(z[:, 0] ** 2))),
            "z_rms_airs": float(np.sqrt(np.mean(z[:, 1:] ** 2))), "coverage_80": coverage(truth, mean, sigma, 0.8),
            "rmse_ppm": rmse_ppm(truth, mean), "white_rms_ppm": float(np.sqrt(np.mean(white**2))),
            "white_median_ppm": float(np.median(np.abs(white))),
        }  # fmt: skip
    leads = {f"{name}_minus_learned": score - scores["learned"] for name, score in scores.items() if name != "learned"}
    return result | {name: [float(lead.mean()), bootstrap_error(lead)] for name, lead in leads.items()}


if __name__ == "__main__":
    main()
