"""Stated sigma → calibrated sigma, a rising curve for each band group.

Monotone maximum likelihood of a Gaussian's variance is weighted isotonic regression of the squared residuals (Barlow,
Bartholomew, Bremner & Brunk 1972), solved by pooling adjacent violators. An option: it has many parameters for few
planets. Arrays are (planet, wavelength), wavelength 0 = FGS1, a group of its own.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from ariel_lib.metrics import z_scores
from ariel_lib.uncertainty.temperature import score_weights

Array = np.ndarray

AIRS_GROUPS = 4
KNOTS = 8  # of a curve: groups of planets and bins of like sigma, whose mean square residual is one point


@dataclass(frozen=True)
class Isotonic:
    """groups (wavelength,) of group indices; stated and calibrated, (group, knot), rising: log sigmas.

    Between knots the curve is straight in the logarithms, beyond them it keeps the last ratio.
    """

    groups: Array
    stated: Array
    calibrated: Array

    def apply(self, sigma: Array) -> Array:
        """Calibrated standard deviations, same shape (..., wavelength)."""
        logs, out = np.log(sigma), np.empty(np.shape(sigma))
        for group, (x, y) in enumerate(zip(self.stated, self.calibrated)):
            inside = self.groups == group
            out[..., inside] = np.interp(logs[..., inside], x, y - x)
        return sigma * np.exp(out)


def fit_isotonic(
    mean: Array, sigma: Array, truth: Array, *, naive_mean: float, naive_sigma: float, year: int = 2025
) -> Isotonic:
    """The rising curves that maximise the score on these planets, which the model must not have been trained on."""
    z2 = z_scores(truth, mean, sigma) ** 2
    weights = score_weights(truth, naive_mean=naive_mean, naive_sigma=naive_sigma, year=year)
    n = z2.shape[1]
    groups = np.concatenate([[0], 1 + np.arange(n - 1) * AIRS_GROUPS // (n - 1)])
    curves = [
        _curve(*(x[:, groups == group].ravel() for x in (sigma, z2 * sigma**2, weights)))
        for group in range(groups[-1] + 1)
    ]
    return Isotonic(groups, *(np.array(rows) for rows in zip(*curves)))


def _curve(sigma: Array, squares: Array, weights: Array) -> tuple[Array, Array]:
    """Log sigmas, stated and calibrated, at KNOTS groups of like stated sigma."""
    parts = np.array_split(np.argsort(sigma, kind="stable"), min(KNOTS, len(sigma)))
    stated = np.array([np.log(sigma[part]).mean() for part in parts])
    total = np.array([weights[part].sum() for part in parts])
    # Within a knot sigmas still differ: their ratio to the squares is averaged, not the squares.
    ratio = np.array([np.average(squares[part] / sigma[part] ** 2, weights=weights[part]) for part in parts])
    calibrated = 0.5 * np.log(isotonic_regression(ratio * np.exp(2 * stated), weights=total).x)
    pad = KNOTS - len(parts)
    return np.pad(stated, (0, pad), mode="edge"), np.pad(calibrated, (0, pad), mode="edge")
