"""A run folder of many planets with the files that `predict` and `diagnose` leave, invented, and its dashboard: size and time.

No planet is fitted: spectra come from the simulator, the recovered ones are they plus correlated noise, and embeddings,
gates, attributions and housekeeping are random numbers of the right shape. What the page looks like and costs is real.

    python benchmarks/dashboard.py --out build/dashboard --planets 1100
    python benchmarks/dashboard_browser.py build/dashboard/diagnostics/v50_report_v1.html
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.archive import Spectra, write_spectra, write_stars, write_wavelengths
from ariel_lib.evidence import diagnose
from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.provenance import recorded
from ariel_lib.simulator.spectrum import draw_spectrum
from ariel_lib.simulator.star import draw_star
from ariel_lib.storage import save_arrays
from ariel_lib.submission import write_submission

EVIL = "<script>alert(1)</script>"
BANDS, EXPLAINED, WIDTH = 6, 50, 32


def write_run(out: Path, n: int, seed: int = 0) -> Path:
    """The folder of a run over n planets, one of them with a hostile id; returns its submission."""
    rng, wavelength = np.random.default_rng(seed), spectrum_wavelengths()
    planets = [EVIL, *(str(1000 + row) for row in range(n - 1))]
    stars = [draw_star(rng, planet) for planet in planets]
    truth = np.stack([draw_spectrum(rng, wavelength, star) for star in stars])
    sigma = 5e-5 * np.exp(rng.normal(0, 0.4, (n, 1))) * (1 + 0.5 * np.linspace(0, 1, 283) ** 2)
    noise = rng.standard_normal(truth.shape)
    slow = np.cumsum(rng.standard_normal(truth.shape), axis=1) / np.sqrt(283)
    mean = np.maximum(truth + sigma * (0.8 * noise + 0.6 * slow), 0)
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    write_wavelengths(data, wavelength)
    write_stars(data, "test", stars)
    for name in ("train", "test"):
        write_spectra(data / f"{name}.csv", Spectra(tuple(planets), truth))
    path = out / "run" / "submission.csv"
    write_submission(path, planets, mean, sigma, fallback_mean=truth.mean(axis=0), fallback_sigma=0.01)
    path.with_suffix(".json").write_text(json.dumps({"answered": n, "origin": {"data": str(data.resolve())}}))
    shapes = {"correction": (EXPLAINED, BANDS)} | {
        f"{method}{part}": (EXPLAINED, BANDS, *rest)
        for method in ("ig", "shap") for part, rest in (("", (283,)), ("_rest", (2,)), ("_error", ()))
    }  # fmt: skip
    arrays = {name: np.abs(rng.normal(0, 0.1, shape)).astype(np.float32) for name, shape in shapes.items()}
    arrays["gates"] = rng.dirichlet((4, 2, 2), (n, 283)).astype(np.float32)
    arrays["embedding"] = (rng.normal(0, 1, (n, 4)) @ rng.normal(0, 1, (4, WIDTH))).astype(np.float32)
    save_arrays(path.with_name("explanation.safetensors"), arrays, {"planet_ids": json.dumps(planets)})
    _housekeeping(rng, planets[:100]).to_csv(path.with_name("housekeeping.csv"), index=False)
    return path


def _housekeeping(rng: np.random.Generator, planets: list[str]) -> pd.DataFrame:
    rows = []
    for planet in planets:
        for instrument, level in (("fgs1", 1500), ("airs", 2500)):
            sigma = level * np.exp(rng.normal(0, 0.4))
            drifts = {"flux_drift_percent": rng.normal(0, 0.1), "centroid_drift_pixel": abs(rng.normal(0, 0.02))}
            scatter = {"scatter_ppm": sigma * rng.normal(1, 0.02), "propagated_ppm": sigma, "masked_percent": rng.gamma(2, 0.5)}
            rows.append({"planet": planet, "visit": 0, "instrument": instrument} | scatter | drifts)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/dashboard"))
    parser.add_argument("--planets", type=int, default=1100)
    arguments = parser.parse_args()
    with recorded("generate", arguments.out / "run", seed=0):
        submission = write_run(arguments.out, arguments.planets)
    result = diagnose(submission=submission, outdir=arguments.out / "diagnostics")
    print(json.dumps({name: result[name] for name in ("html", "planets", "bytes", "seconds", "missing")}, indent=1))


if __name__ == "__main__":
    main()
