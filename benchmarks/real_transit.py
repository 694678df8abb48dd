"""The transit fit on light that this project did not make: a real transit of the 2025 data, and a planet of ExoSim.

    python benchmarks/real_transit.py --data DIR      DIR holds adc2025/ and exosim/

Prints depths against the truth in ppm and in stated standard deviations, the scatter of the white residuals against
the one expected, and what the microlensing guard sees (a bump counts from a gain of 25); writes build/real_transit/: fit.json,
and a figure of each fit. The real transit was reduced by others: FGS1 in visit 0, AIRS in visit 1, both already binned.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.io.archive import Archive
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.storage import write_atomically
from ariel_lib.plots.figures import draw_light_curve, render_png
from ariel_lib.transit.bumps.fit import detect_bumps
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.result import DepthEstimate

PLANET, EXOSIM = "244787369", "9000001"
CDS_READ_NOISE = 19.0  # electrons a pixel and sample, median of the 2025 maps
BINNED = {"fgs": (50, 144), "airs": (5, 16)}  # samples in a bin, pixels added up in a channel (12 × 12, and 16 rows)
BANDS = 12


def real_visits(path: Path) -> tuple[list[LightCurves], np.ndarray]:
    """Visit 0 with FGS1 alone and visit 1 with AIRS alone, and the true spectrum."""
    with np.load(path) as file:
        fgs1 = _binned(file["t_fgs_h"], file["fgs_visit0_final"], *BINNED["fgs"])
        airs = _binned(file["t_airs_h"], file["airs_visit1_final"], *BINNED["airs"])
        truth = file["truth"]
    return [LightCurves(PLANET, 0, fgs1, _hidden(airs)), LightCurves(PLANET, 1, _hidden(fgs1), airs)], truth


def _binned(time: np.ndarray, flux: np.ndarray, samples: int, pixels: int) -> LightCurve:
    """Means of `samples` CDS samples with Poisson and read noise; no centroids are known."""
    read = np.full(flux.shape, CDS_READ_NOISE**2 * pixels / samples)
    n = len(time)
    return LightCurve(time, flux, flux / samples, read, np.zeros((n, 2)), np.zeros(n), np.zeros(flux.shape, bool))


def _hidden(curve: LightCurve) -> LightCurve:
    return LightCurve(*(getattr(curve, name) for name in list(curve.__dataclass_fields__)[:-1]), np.ones_like(curve.mask))


def compare(estimate: DepthEstimate, truth: np.ndarray) -> dict:
    """FGS1, AIRS white, equal bins: deviation in ppm and in stated sigmas; white scatter over the expected."""
    error, own = estimate.depth - truth, estimate.sigma_uncorrelated**-2.0
    groups = np.array_split(np.arange(1, len(truth)), BANDS)
    bands = [_average(error, estimate.covariance, own, group) for group in groups]
    _, white_sigma = _average(error, estimate.covariance, own, np.arange(1, len(truth)))
    return {
        "fgs1": _line(estimate.depth[0], truth[0], estimate.sigma[0]),
        "airs_white": _line(np.average(estimate.depth[1:], weights=own[1:]), np.average(truth[1:], weights=own[1:]), white_sigma),
        "bins_z": [round(e / s, 2) for e, s in bands],
        "bins_z_rms": float(np.sqrt(np.mean([(e / s) ** 2 for e, s in bands]))),
        "wavelengths_z_rms": float(np.sqrt(np.mean((error / estimate.sigma)[1:] ** 2))),
        "scatter_over_expected": {
            f"{c.instrument} visit {c.visit}": float(np.std(c.flux - c.model) / c.sigma) for c in estimate.white
        },
        "flags": list(estimate.flags),
    }  # fmt: skip


def _average(error: np.ndarray, covariance: np.ndarray, own: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Mean over channels weighted by their own noise, and its standard deviation with all correlations."""
    share = own[group] / own[group].sum()
    return float(share @ error[group]), float(np.sqrt(share @ covariance[np.ix_(group, group)] @ share))


def _line(depth: float, truth: float, sigma: float) -> dict:
    return {"ppm": 1e6 * depth, "truth_ppm": 1e6 * truth, "sigma_ppm": 1e6 * sigma, "z": (depth - truth) / sigma}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with adc2025/ and exosim/")
    parser.add_argument("--out", type=Path, default=Path("build/real_transit"))
    options = parser.parse_args()
    archive = Archive(options.data / "adc2025")
    visits, truth = real_visits(options.data / "adc2025" / f"lightcurve_{PLANET}.npz")
    real = estimate_depths(visits, archive.star("train", PLANET), archive.wavelengths())
    simulated = Archive(options.data / "exosim")
    curves = calibrate_visit(simulated, "train", EXOSIM, 0, CalibrationSettings())
    exosim = estimate_depths([curves], simulated.star("train", EXOSIM), simulated.wavelengths())
    exosim_truth = simulated.labels("train").of([EXOSIM])[0]
    result = {f"real {PLANET}": compare(real, truth), f"exosim {EXOSIM}": compare(exosim, exosim_truth)}
    for row, observed, folder in zip(result.values(), (visits, [curves]), (archive, simulated)):
        found = detect_bumps(observed, folder.star("train", observed[0].planet_id), folder.wavelengths())
        row["guard"] = {f"visit {g.visit}": {"gain": g.bump.gain, "exists": g.bump.exists} for g in found}
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "fit.json", json.dumps(result, indent=1).encode())
    for name, estimate in (("real", real), ("exosim", exosim)):
        for curve in estimate.white:
            figure = draw_light_curve(curve.time, curve.flux, curve.model, flux_sigma=np.full(len(curve.time), curve.sigma))
            write_atomically(options.out / f"{name}_{curve.instrument}.png", render_png(figure))


if __name__ == "__main__":
    main()
