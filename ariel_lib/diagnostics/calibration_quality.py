"""Quality of calibrated light curves: scatter against propagated sigma, masked samples, bad pixels, drift of flux and pointing.

Scatter is estimated from successive differences, so that transit and drifts do not contribute.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ariel_lib.calibration.bad_pixels import unusable_pixels
from ariel_lib.calibration.scatter import robust_scatter
from ariel_lib.execution.workers import Failure, attempt
from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import LightCurve, load_light_curves


def summarise_visits(dataset: Dataset) -> tuple[pd.DataFrame, dict[str, Failure]]:
    """A table with a row for each planet, visit and instrument, and failures by planet of visits whose files cannot be read.

    scatter_ppm, propagated_ppm               of one sample, median over wavelengths
    masked_percent                            of the samples
    flux_drift_percent, centroid_drift_pixel  last tenth of the visit minus first tenth
    bad_pixels_percent                        of the detector, from the calibration maps; NaN without frames
    """
    rows, failed, framed, present = [], {}, set(dataset.archive.planets(dataset.split)), dataset.light_curve_visits
    for planet in dataset.planets:
        for visit in present.get(planet, ()):
            found, failure = attempt(_summarise_visit, dataset, planet, visit, planet in framed)
            if failure is None:
                rows += found
            else:
                failed.setdefault(planet, replace(failure, reason=f"visit {visit}: {failure.reason}"))
    return pd.DataFrame(rows), failed


def _summarise_visit(dataset: Dataset, planet: str, visit: int, framed: bool) -> list[dict]:
    rows, curves = [], load_light_curves(dataset.light_curve_path(planet, visit))
    for name, instrument in (("fgs1", FGS1), ("airs", AIRS)):
        bad = float("nan")
        if framed:
            maps = dataset.archive.calibration_maps(dataset.split, planet, visit, instrument)
            bad = 100 * float(unusable_pixels(maps).mean())
        figures = summarise_curve(getattr(curves, name))
        rows.append({"planet": planet, "visit": visit, "instrument": name, **figures, "bad_pixels_percent": bad})
    return rows


def summarise_curve(curve: LightCurve) -> dict[str, float]:
    """The figures of one light curve; NaN where every sample is masked."""
    n = len(curve.time)
    mask, variance = curve.mask.reshape(n, -1), curve.variance.reshape(n, -1).astype(float)
    flux = np.where(mask, np.nan, curve.flux.reshape(n, -1).astype(float))
    live = np.isfinite(flux).sum(axis=0) > 2
    figures = dict.fromkeys(
        ("scatter_ppm", "propagated_ppm", "flux_drift_percent", "centroid_drift_pixel"), float("nan")
    )
    figures["masked_percent"] = 100 * float(mask.mean())
    if not live.any():
        return figures
    flux, variance = flux[:, live], np.where(mask, np.nan, variance)[:, live]
    level, steps = np.nanmedian(flux, axis=0), np.diff(flux, axis=0)
    scatter = robust_scatter(steps, np.nanmedian(steps, axis=0)) / np.sqrt(2)
    tenth = max(1, n // 10)
    white, centroid = np.nansum(flux, axis=1), curve.centroid.astype(float)
    ends = np.median(white[:tenth]), np.median(white[-tenth:])
    moved = np.nanmedian(centroid[-tenth:], axis=0) - np.nanmedian(centroid[:tenth], axis=0)
    return figures | {
        "scatter_ppm": float(1e6 * np.median(scatter / level)),
        "propagated_ppm": float(1e6 * np.median(np.sqrt(np.nanmedian(variance, axis=0)) / level)),
        "flux_drift_percent": float(100 * (ends[1] / ends[0] - 1)),
        "centroid_drift_pixel": float(np.hypot(*moved)),
    }
