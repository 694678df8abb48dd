"""What the spectral manifold is worth beside the spectral library, on noisy labels.

    python benchmarks/manifold.py --labels train.csv [--folds 5 --levels 1 2 4 --latents 8 --out build/manifold]
    python benchmarks/manifold.py --labels train.csv --choose 5 8 12

Each label has noise added: photons alone, those of planet 342072318 (K 6, 4798 K; 2.5 h in transit, 5 h outside) times a level. Priors
are fitted without the label's fold.

library, manifold   the posteriors (priors/spectral_library.py, priors/manifold.py)
equal               their mixture, half and half: its mean and its standard deviation
pool                their logarithmic opinion pool, half and half (Genest & Zidek 1986, Statist. Sci. 1, 114): for Gaussians, precisions
                    are averaged; a mixture is too wide where its parts are right and agree
weighted            the pool of Gaussian, library and manifold posterior; the weights of a fold score best on the other folds
lead                score minus that of the library on the same planets; errors by bootstrap over planets

--choose: numbers of latents are compared on the first fold, on one half of the labels drawn at random, on whose scores the settings
of the manifold were chosen. The main table has all labels, and by themselves those of the other half. One choice did see labels of both
halves: the kernels' width, neighbours and ridge, by the density of latents left out among the labels of folds 2 to 5.
Prints a table and writes it, with processor seconds to train and milliseconds a planet of one thread, to OUT.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.instrument import FGS1_WAVELENGTH
from ariel_lib.io.archive import Archive
from ariel_lib.io.storage import write_atomically
from ariel_lib.metrics import bootstrap_error, naive_answer, planet_scores, summary
from ariel_lib.priors.gaussian import fit_prior
from ariel_lib.priors.manifold import LATENTS, fit_manifold
from ariel_lib.priors.scale_height import scale_height_depth
from ariel_lib.priors.spectral_library import fit_spectral_library
from ariel_lib.simulator.dataset import read_labels
from ariel_lib.simulator.star import REFERENCE_MAGNITUDE, REFERENCE_TEMPERATURE, airs_rates, fgs1_rate

IN_TRANSIT, OUTSIDE = 2.5 * 3600, 5 * 3600  # s
EXPOSED = {"AIRS": 4.5 / 4.8, "FGS1": 0.1 / 0.4}  # share of the time
PRIORS = ("gaussian", "library", "manifold")
CHOOSING = 77  # seed of the half of the labels that chose the settings

Answers = dict[str, np.ndarray]  # (mean and sigma, planet, wavelength)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of labels, with star table and wavelengths in its folder")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--levels", type=float, nargs="+", default=[1, 2, 4])
    parser.add_argument("--latents", type=int, default=LATENTS)
    parser.add_argument("--choose", type=int, nargs="+", help="numbers of latents to compare")
    parser.add_argument("--out", type=Path, default=Path("build/manifold"))
    options = parser.parse_args()
    if not options.labels.is_file():
        raise SystemExit(f"{options.labels}: no such file. Give the challenge's train.csv.")
    labels = read_labels(options.labels)
    depth, wavelength = labels.spectra.depth, Archive(options.labels.parent).wavelengths()
    scale = np.array([scale_height_depth(star, white) for star, white in zip(labels.stars, depth[:, 1:].mean(axis=1))])
    folds = np.empty(len(depth), int)
    for n, rows in enumerate(np.array_split(np.random.default_rng(2025).permutation(len(depth)), options.folds)):
        folds[rows] = n
    choosing = np.zeros(len(depth), bool)
    choosing[np.random.default_rng(CHOOSING).permutation(len(depth))[: len(depth) // 2]] = True
    judge = Judge(depth, scale, wavelength, folds, options.levels)
    with threadpool_limits(1):
        if options.choose:
            result = {n: judge.choose(choosing & (folds == 0), n) for n in options.choose}
        else:
            result = judge.report(choosing, options.latents)
    text = as_table(result)
    print(text)
    name = "latents" if options.choose else "manifold"
    write_atomically(options.out / f"{name}.md", text.encode())
    write_atomically(options.out / f"{name}.json", json.dumps(result, indent=1).encode())


def photon_noise(wavelength: np.ndarray) -> np.ndarray:
    """Standard deviation of the depth, (wavelength,), from photons alone."""
    airs = airs_rates(wavelength[1:], REFERENCE_TEMPERATURE, REFERENCE_MAGNITUDE) * EXPOSED["AIRS"]
    fgs1 = fgs1_rate(REFERENCE_TEMPERATURE, REFERENCE_MAGNITUDE) * EXPOSED["FGS1"]
    rate = np.concatenate([[fgs1], airs])
    return np.sqrt(1 / (rate * IN_TRANSIT) + 1 / (rate * OUTSIDE))


class Judge:
    """Noisy labels, and the posteriors of priors fitted without their folds."""

    def __init__(self, depth: np.ndarray, scale: np.ndarray, wavelength: np.ndarray, folds: np.ndarray, levels: list[float]):
        assert abs(wavelength[0] - FGS1_WAVELENGTH) < 0.3
        self.depth, self.scale, self.wavelength, self.folds, self.levels = depth, scale, wavelength, folds, levels
        self.sigma, self.naive = photon_noise(wavelength), naive_answer(depth)
        self.unit = np.random.default_rng(5).standard_normal(depth.shape)

    def answer(self, rows: np.ndarray, latents: int, names: tuple[str, ...]) -> tuple[dict[float, Answers], dict[str, float]]:
        """Answers for planets `rows` of one fold at each level, and costs."""
        inside, cost = self.folds != self.folds[rows[0]], {"train_s": 0.0, "planet_ms": 0.0}
        depth, scale, clock = self.depth[inside], self.scale[inside], time.process_time()
        priors = {"manifold": fit_manifold(depth, scale, latents=latents)}
        cost["train_s"] = time.process_time() - clock
        priors["library"] = fit_spectral_library(depth, self.wavelength, scale)
        priors["gaussian"] = fit_prior(depth, self.wavelength)
        found = {}
        for level in self.levels:
            noise, answers = np.diag((level * self.sigma) ** 2), {name: np.empty((2, len(rows), depth.shape[1])) for name in names}
            for n, row in enumerate(rows):
                measured = self.depth[row] + level * self.sigma * self.unit[row]
                for name in names:
                    clock = time.process_time()
                    mean, sigma, _ = priors[name].conditioned_on(noise, self.scale[row]).moments(measured[None])
                    cost["planet_ms"] += 1e3 * (time.process_time() - clock) / len(rows) / len(self.levels) * (name == "manifold")
                    answers[name][:, n] = np.maximum(mean[0], 0.0), sigma[0]
            found[level] = answers
        return found, cost

    def choose(self, rows: np.ndarray, latents: int) -> dict:
        """Figures of the manifold and the equal mixture on planets `rows` (planet,) bool of one fold."""
        chosen = np.flatnonzero(rows)
        found, cost = self.answer(chosen, latents, ("library", "manifold"))
        return {"cost": cost} | {f"noise {level:g}": self.figures(chosen, with_mixtures(answers)) for level, answers in found.items()}

    def report(self, choosing: np.ndarray, latents: int) -> dict:
        """Figures of all planets, and of those that chose nothing."""
        parts, costs = [], []
        for n in range(self.folds.max() + 1):
            rows = np.flatnonzero(self.folds == n)
            found, cost = self.answer(rows, latents, PRIORS)
            parts.append(found)
            costs.append(cost)
            leads = [f"{self.figures(rows, with_mixtures(answers))['equal']['lead']:+.4f}" for answers in found.values()]
            text = f"{cost['train_s']:.0f} s to train, {cost['planet_ms']:.0f} ms a planet, lead of the equal mixture {', '.join(leads)}"
            print(f"fold {n + 1}: {text}", flush=True)
        order = np.concatenate([np.flatnonzero(self.folds == n) for n in range(self.folds.max() + 1)])
        answers = {level: {name: np.concatenate([part[level][name] for part in parts], axis=1) for name in PRIORS} for level in self.levels}
        weights = self.cross_validated(order, answers)
        result = {"cost": {name: float(np.median([cost[name] for cost in costs])) for name in costs[0]}}
        result["weights"] = {f"fold {n + 1}": dict(zip(PRIORS, map(float, w))) for n, w in enumerate(weights)}
        for level in self.levels:
            every = with_mixtures(answers[level], weights[self.folds[order]].T[:, :, None])
            result[f"noise {level:g}"] = self.figures(order, every)
            others = ~choosing[order]
            result[f"noise {level:g}, other half"] = self.figures(order[others], {name: a[:, others] for name, a in every.items()})
        return result

    def cross_validated(self, order: np.ndarray, answers: dict[float, Answers]) -> np.ndarray:
        """Weights (fold, prior) of a mixture, in tenths, that score best at all levels on the planets of the other folds."""
        grid = [np.array(w) / 10 for w in product(range(11), repeat=3) if sum(w) == 10]
        gains = []
        for weights in grid:
            mixed = {level: pool([found[name] for name in PRIORS], weights) for level, found in answers.items()}
            scores = planet_scores(self.depth[order], mixed, self.naive)
            gains.append(np.mean([scores[level] for level in mixed], axis=0))
        gains = np.array(gains)
        return np.array([grid[gains[:, self.folds[order] != n].mean(axis=1).argmax()] for n in range(self.folds.max() + 1)])

    def figures(self, rows: np.ndarray, answers: Answers) -> dict[str, dict[str, float]]:
        """Score, lead over the library and its error, z rms and mean absolute error (ppm) of each answer."""
        truth, table = self.depth[rows], {}
        gain = planet_scores(truth, answers, self.naive)
        for name, answer in answers.items():
            found, lead = summary(truth, *answer, **self.naive), gain[name] - gain["library"]
            table[name] = {name: found[name] for name in ("score", "z_rms", "z_rms_fgs1", "coverage_80")}
            table[name] |= {"mae_ppm": 1e6 * found["mae"], "lead": float(lead.mean()), "error": bootstrap_error(lead)}
        return table


def mixture(answers: list[np.ndarray], weights) -> np.ndarray:
    """Mean and standard deviation of a mixture of Gaussians: answers (2, planet, wavelength) each."""
    mean = sum(w * answer[0] for w, answer in zip(weights, answers))
    second = sum(w * (answer[0] ** 2 + answer[1] ** 2) for w, answer in zip(weights, answers))
    return np.stack([mean, np.sqrt(second - mean**2)])


def pool(answers: list[np.ndarray], weights) -> np.ndarray:
    """Mean and standard deviation of the logarithmic opinion pool of Gaussians: answers (2, planet, wavelength) each."""
    precision = sum(w / answer[1] ** 2 for w, answer in zip(weights, answers))
    mean = sum(w * answer[0] / answer[1] ** 2 for w, answer in zip(weights, answers)) / precision
    return np.stack([mean, precision**-0.5])


def with_mixtures(answers: Answers, weights: np.ndarray | None = None) -> Answers:
    """The answers, equal mixture and pool of library and manifold and, with weights (prior, planet, 1), the weighted pool."""
    both = [answers["library"], answers["manifold"]]
    found = answers | {"equal": mixture(both, (0.5, 0.5)), "pool": pool(both, (0.5, 0.5))}
    return found if weights is None else found | {"weighted": pool([answers[name] for name in PRIORS], weights)}


def as_table(result: dict) -> str:
    """Markdown."""
    lines = []
    for title, part in result.items():
        if "equal" in part:
            lines += ["", f"{title}", "", "| | score | lead over the library | z rms | FGS1 | coverage of 80 % | mae, ppm |"]
            lines += ["|---|---|---|---|---|---|---|"]
            for name, row in part.items():
                lead = "" if name == "library" else f"{row['lead']:+.4f} ± {row['error']:.4f}"
                figures = f"{row['z_rms']:.3f} | {row['z_rms_fgs1']:.3f} | {row['coverage_80']:.3f} | {row['mae_ppm']:.2f}"
                lines.append(f"| {name} | {row['score']:.4f} | {lead} | {figures} |")
        elif "cost" in part:
            text = as_table({f"{title} latents, {key}": value for key, value in part.items() if key != "cost"})
            lines += [text, "", f"{title} latents: {part['cost']}"]
        else:
            lines += ["", f"{title}: {part}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
