"""Is an error that all planets share learned from the labelled ones, and what would it cost?

    python benchmarks/response.py --data DIR [--fits FOLDER --lost 0.026]

DIR: a set of `spectramind simulate --level lightcurves`. Its light curves stay as they are; its labels are raised to those for
which the depths are what a companion's light leaves of them: a share rising from 0.004 to LOST between 2 and 4 micron, 0.012 at
FGS1. The closed form (fit, library of the training labels) then answers for the test planets, with the bias learned from
the training planets and without; once more with the labels as they are, where there is nothing to learn.
Prints one JSON and writes it to build/bench/response.json. FOLDER keeps the fits, as training.out of a run does.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import bootstrap_error, naive_answer, planet_scores, summary
from ariel_lib.models.features import scale_of
from ariel_lib.pipeline.planet_fits import PlanetFits, fit_planets
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.priors.spectral_library import fit_spectral_library
from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias, fit_multiplicative_bias
from ariel_lib.transit.population.nuisance_prior import fit_nuisance_prior

AT_FGS1 = 0.012
BLUE, TURN, STEEPNESS = 0.004, 2.6, 0.35  # share, micron, micron


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fits", type=Path, default=Path("build/response"))
    parser.add_argument("--lost", type=float, default=0.026)
    options = parser.parse_args()
    dataset = Dataset(options.data, "train", scratch=options.fits)
    wavelength, known = dataset.wavelengths, LabelledSpectra.read(dataset)
    seen, asked = (fit_planets(part, workers=2) for part in (dataset, dataset.with_split("test")))
    population = fit_nuisance_prior([o.estimate for o in seen.fits.values()])
    truth = read_spectra(options.data / "test.csv").of(asked.fits)
    lost = BLUE + (options.lost - BLUE) / (1 + np.exp((TURN - wavelength) / STEEPNESS))
    lost[0] = AT_FGS1
    with threadpool_limits(1):
        result = {
            name: judge(seen.conditioned_on(population), asked.conditioned_on(population), known, truth, 1 - share, wavelength)
            for name, share in (("as it is", 0 * lost), ("diluted", lost))
        }
    print(json.dumps(result, indent=1))
    write_atomically(Path("build/bench/response.json"), json.dumps(result, indent=1).encode())


def judge(seen: PlanetFits, asked: PlanetFits, known: LabelledSpectra, truth: np.ndarray, kept: np.ndarray, wavelength: np.ndarray) -> dict:
    """Score with and without the bias learned, and how near that comes to the one put in: `kept` (wavelength,) of the light."""
    labels, truth = known.labels.depth / kept, truth / kept
    of = dict(zip(known.labels.planet_ids, labels))
    response = fit_multiplicative_bias([o.estimate for o in seen.fits.values()], np.array([of[p] for p in seen.fits]), wavelength)
    library = fit_spectral_library(labels, wavelength, known.scale)
    naive = naive_answer(labels)
    answers = {
        name: answer(asked.conditioned_on(bias), library)
        for name, bias in (("without", MultiplicativeBias.none(len(wavelength))), ("with", response))
    }
    scores = planet_scores(truth, answers, naive)
    error = response.mean - (kept - 1)
    return {
        "found": bool(response.mean.any()), "largest_put_in": float(np.abs(kept - 1).max()),
        "rms_error_of_response": float(np.sqrt(np.mean(error**2))),
        "score": {name: [float(rows.mean()), bootstrap_error(rows)] for name, rows in scores.items()},
        "coverage_80": {name: summary(truth, *found, **naive)["coverage_80"] for name, found in answers.items()},
    }  # fmt: skip


def answer(planet_fits: PlanetFits, library) -> tuple[np.ndarray, np.ndarray]:
    rows = []
    for o in planet_fits.fits.values():
        mean, sigma, _ = library.conditioned_on(o.estimate.covariance, scale_of(o.star, o.estimate)).moments(o.estimate.depth[None])
        rows.append((np.maximum(mean[0], 0.0), sigma[0]))
    mean, sigma = zip(*rows)
    return np.array(mean), np.array(sigma)


if __name__ == "__main__":
    main()
