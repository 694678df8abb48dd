"""One checkpoint on the same planets twice: from raw frames, and from light curves that skipped the detector.

    python benchmarks/frames.py --weights FILE --labels LABELS.csv [--planets 300 --seed 11]

Both sets have the same planets, orbits, drifts and pointing; photon and read noise are drawn anew, for frames draw them by pixel
and light curves by sample. A planet's two scores therefore differ, and only their mean says whether calibration loses anything:
it is printed with its bootstrap error over the planets. Toy visits: a full one is the same with 25 times as many reads, 220 MB.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np

from ariel_lib.io.dataset import Dataset
from ariel_lib.io.submission import read_submission
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import bootstrap_error, planet_scores, summary
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.prediction.predict import predict
from ariel_lib.simulator.dataset import LEVELS, simulate_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="spectra to draw from: best some that the weights have not seen")
    parser.add_argument("--planets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/frames"))
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.weights)
    naive = {"naive_mean": float(checkpoint.fallback_mean[0]), "naive_sigma": float(checkpoint.fallback_sigma[0])}
    shares, table, stated, clock = {}, {}, {}, time.monotonic()
    for level in LEVELS:
        data, out = options.out / level / "data", options.out / level / "submission.csv"
        simulate_dataset(data, n_planets=options.planets + 1, n_test=options.planets, seed=options.seed, labels=options.labels, level=level)
        told = predict(Dataset(data), weights=options.weights, out=out, workers=options.workers)
        planets, mean, sigma = read_submission(out)
        truth = read_spectra(data / "test.csv").of(planets)
        answered = [n for n, planet in enumerate(planets) if planet not in told["fallbacks"]]
        found = planet_scores(truth, {level: (mean, sigma)}, naive)[level]
        shares[level] = {planets[n]: found[n] for n in answered}
        stated[level] = {planets[n]: float(np.median(sigma[n])) for n in answered}
        figures = summary(truth[answered], mean[answered], sigma[answered], **naive)
        table[level] = {name: round(figures[name], 4) for name in ("score", "coverage_80", "z_rms")} | {"no_answer": len(told["fallbacks"])}
        shutil.rmtree(data)
    both = shares["frames"].keys() & shares["lightcurves"].keys()
    apart = np.array([shares["frames"][planet] - shares["lightcurves"][planet] for planet in sorted(both)])
    ratio = np.median([stated["frames"][planet] / stated["lightcurves"][planet] for planet in sorted(both)])
    difference = {
        "mean": round(float(apart.mean()), 4), "error": round(bootstrap_error(apart), 4), "median": round(float(np.median(apart)), 4),
        "spread": round(float(apart.std()), 4), "planets": len(apart), "ratio_of_sigmas": round(float(ratio), 4),
    }  # fmt: skip
    print(json.dumps(table | {"frames_minus_lightcurves": difference, "seconds": round(time.monotonic() - clock)}, indent=1))


if __name__ == "__main__":
    main()
