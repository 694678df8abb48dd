"""White light curves of one planet: calibrated ones, and those of the transit fit with its model."""

import json
from pathlib import Path

import numpy as np

from ariel_lib.io.light_curves import INSTRUMENT_KEYS
from ariel_lib.server.reading import ArrayFile, UnreadableFile, open_arrays
from ariel_lib.server.schemas import FittedCurve, WhiteCurve
from ariel_lib.server.values import as_number, as_series, as_text

POINTS_LIMIT = 500  # of one curve
VISITS_LIMIT = 10
FIT_NUMBERS = ("sigma", "t0", "duration", "chi2", "red_noise", "red_noise_probability")  # of transit.result.WhiteCurve


def read_white_curves(path: Path, visit: int) -> list[WhiteCurve]:
    """White light of both instruments in one visit; one without usable samples is left out. Raises UnreadableFile for a damaged file."""
    with open_arrays(path) as arrays:
        curves = [_sum_light(arrays, key, f"{key.upper()}, visit {visit}") for key in INSTRUMENT_KEYS]
    return [curve for curve in curves if curve is not None]


def _sum_light(arrays: ArrayFile, key: str, name: str) -> WhiteCurve | None:
    """Flux summed over wavelengths, divided by its median. A masked sample is replaced by the mean over time at its wavelength."""
    time, flux, mask = (arrays.read(f"{key}.{part}") for part in ("time", "flux", "mask"))
    flux, mask = (x.reshape(len(time), -1) for x in (flux, mask.astype(bool)))
    usable = (~mask).any(axis=0)
    if not usable.any():
        return None
    mean = np.where(mask, 0.0, flux).sum(axis=0)[usable] / (~mask).sum(axis=0)[usable]
    white = np.where(mask[:, usable], mean, flux[:, usable]).sum(axis=1, dtype=np.float64)
    level = float(np.median(white))
    return WhiteCurve(
        name=name, time=average(time), flux=average(white / level),
        electrons_per_sample=as_number(level), masked_fraction=as_number(float(mask.mean())),
    )  # fmt: skip


def read_fitted_curves(path: Path) -> list[FittedCurve]:
    """White light curves in the file of a transit fit, with the fitted model of transit and drift. Raises UnreadableFile."""
    found = []
    with open_arrays(path) as arrays:
        for n, about in enumerate(json.loads(arrays.metadata["white"])[:VISITS_LIMIT]):
            time, flux, model = (average(arrays.read(f"white.{n}.{part}")) for part in ("time", "flux", "transit_model"))
            name = f"{as_text(about.get('instrument'), 20)}, visit {as_text(about.get('visit'), 5)}"
            numbers = {part: as_number(about.get(part)) for part in FIT_NUMBERS}
            found.append(FittedCurve(name=name, time=time, flux=flux, model=model, **numbers))
    return found


def average(values: np.ndarray) -> list[float | None]:
    """Means over equally many neighbouring samples, at most POINTS_LIMIT of them; samples left over at the end are dropped."""
    if values.ndim != 1:
        raise UnreadableFile(f"expected a light curve with one axis, found {values.ndim}")
    width = -(-len(values) // POINTS_LIMIT)
    n = len(values) // max(width, 1)
    return as_series(values[: n * width].reshape(n, width).mean(axis=1)) if n else []
