"""What each stage is worth on planets nobody has seen: simulate, train, predict, and score five answers side by side.

    python benchmarks/first_light.py --labels LABELS.csv [--train 60 --test 20 --level lightcurves --seed 0 --shifted]

constant            one white-light depth for all wavelengths, one sigma (the public notebooks' kind)
gls_fit             the transit fit alone: every wavelength states what its own photons say
gaussian_posterior  the posterior of the transit fit under the Gaussian spectral prior, in closed form
library_posterior   its posterior under the library of training spectra (priors/spectral_library.py): what the network starts from, or
                    what model.initial_estimate says, under its own name
v50                 the network on top

Each has a temperature of its own, fitted to the planets that training held out.
Errors, of scores and of the leads between answers, are from a bootstrap over the test planets.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from ariel_lib.config import load_config
from ariel_lib.evaluation.comparison import tabulate
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import load_arrays
from ariel_lib.io.submission import read_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import bootstrap_error, naive_answer, planet_scores
from ariel_lib.models.baselines import ConstantSpectrum, white_depth
from ariel_lib.pipeline.planet_fits import load_estimate
from ariel_lib.prediction.predict import predict
from ariel_lib.priors.registry import INITIAL_NAMES
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.training.examples import training_set
from ariel_lib.training.loop import train
from ariel_lib.uncertainty.temperature import Temperature


def main() -> None:
    """Simulate, train and predict, and print one table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--level", choices=("lightcurves", "frames"), default="lightcurves")
    parser.add_argument("--size", choices=("toy", "full"), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shifted", action="store_true", help="test planets with other drifts and limb darkening")
    parser.add_argument("--out", type=Path, default=Path("build/first_light"))
    parser.add_argument("overrides", nargs="*", help="settings of the training, as for spectramind train")
    options = parser.parse_args()
    data, model, started = options.out / "data", options.out / "model", time.monotonic()
    simulate_dataset(
        data, n_planets=options.train + options.test, n_test=options.test, seed=options.seed,
        size=options.size, labels=options.labels, level=options.level, shifted=options.shifted,
    )  # fmt: skip
    config = load_config(None, [f"data.root={data}", f"training.out={model}", *options.overrides])
    trained = train(training_set(config), config)
    predicted = predict(Dataset(data), weights=trained["weights"], out=options.out / "submission.csv", workers=2)
    result = {name: trained[name] for name in ("epochs", "planets", "parameters", "temperature")}
    test = score_answers(options.out, INITIAL_NAMES[config.model.initial_estimate], trained["temperatures"])
    result |= {"fallbacks": predicted["fallbacks"], "seconds": round(time.monotonic() - started), "test": test}
    print(json.dumps(result, indent=1))


def score_answers(out: Path, initial: str, temperatures: dict[str, dict]) -> dict[str, dict]:
    """Figures of the five answers on the test planets; the naive answer is that of the training labels.

    initial       name of V50's initial estimate
    temperatures  of all answers, as `train` returns them
    """
    planets, mean, sigma = read_submission(out / "submission.csv")
    truth = read_spectra(out / "data" / "test.csv").of(planets)
    labels = read_spectra(out / "data" / "train.csv")
    naive = naive_answer(labels.depth)
    extras, text = load_arrays(out / "submission.safetensors")
    if json.loads(text["planet_ids"]) != list(planets):
        raise SystemExit("a planet had no usable data: this comparison needs all of them")
    kept = sorted((out / "model" / "estimates" / "train").glob("*.safetensors"))
    estimates = [load_estimate(path) for path in kept]
    white = np.array([white_depth(e.depth, e.sigma_uncorrelated) for e in estimates])
    baseline = ConstantSpectrum.fit(white, labels.of([e.planet_id for e in estimates]))
    test = [load_estimate(out / "estimates" / "test" / f"{planet}.safetensors") for planet in planets]
    answers = {
        "constant": baseline.predict(np.array([white_depth(e.depth, e.sigma_uncorrelated) for e in test]), truth.shape[1]),
        "gls_fit": (np.maximum(extras["depth"], 0.0), extras["depth_sigma"]),
        "gaussian_posterior": (np.maximum(extras["gaussian_mean"], 0.0), extras["gaussian_sigma"]),
        initial: (np.maximum(extras["initial_mean"], 0.0), extras["initial_sigma"]),
    }
    answers = {name: (depth, Temperature.from_dict(temperatures[name]).apply(sd)) for name, (depth, sd) in answers.items()}
    return compare(truth, answers | {"v50": (mean, sigma)}, naive, initial)


def compare(
    truth: np.ndarray, answers: dict[str, tuple[np.ndarray, np.ndarray]], naive: dict[str, float], initial: str
) -> dict[str, dict]:
    """Figures of each answer with the lead that V50 has over it, and the other leads that matter, with their errors."""
    gain = planet_scores(truth, answers, naive)
    leads = [(initial, "gaussian_posterior"), ("gaussian_posterior", "constant"), ("gaussian_posterior", "gls_fit")]
    result = tabulate(truth, answers, naive)
    result["leads"] = {
        f"{a} over {b}": {"score": float(np.mean(gain[a] - gain[b])), "error": bootstrap_error(gain[a] - gain[b])} for a, b in leads
    }
    return result


if __name__ == "__main__":
    main()
