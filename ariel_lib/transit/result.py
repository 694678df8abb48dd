"""What the transit fit says of one planet: depths with their covariance, nuisance parameters, white light, flags; kept on disk.

Values only: knows neither how a fit is made nor what becomes of it.
"""

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path

import numpy as np

from ariel_lib.instrument import FGS1
from ariel_lib.io.storage import load_arrays, save_arrays
from ariel_lib.transit.segments import DRIFT_ORDERS, TREND_ORDER, Segment

LOG_A_KIND, B_SQUARED_KIND = (TREND_ORDER * (1 + DRIFT_ORDERS) + n for n in range(2))
NOT_KNOWN = np.zeros((0, 0))
KINDS = B_SQUARED_KIND + 1  # drift of FGS1, drift of AIRS by power of time and order in wavelength, orbit


class Flag(StrEnum):
    """What is unusual about a planet's light curves or their fit; none for a normal planet."""

    NO_TRANSIT = "no_transit"  # the mean depth is less than five of its errors
    PARTIAL_TRANSIT = "partial_transit"  # ingress or egress lies outside a visit
    GRAZING = "grazing"
    EXCESS_NOISE = "excess_noise"  # residuals well above the propagated variance
    MISSING_CHANNELS = "missing_channels"  # wavelengths without light
    RED_NOISE = "red_noise"
    NOT_CONVERGED = "not_converged"
    STEP = "step"  # events that were found in white light and fitted, see events.py
    FLARE = "flare"
    SPOT_CROSSING = "spot_crossing"
    BUMP = "bump"
    ECCENTRIC = "eccentric"  # the catalogue's orbit is; the fit's is circular, see physical_priors.py


@dataclass(frozen=True)
class WhiteCurve:
    """One fitted segment in white light.

    time h; flux, model and smooth (the model without centroid terms) relative to level; each (time,)
    sigma    standard deviation of flux; level electrons a sample; t0 and duration in h
    chi2     variance of the residuals over sigma², the part without memory; red that of the part with one, red_noise_probability the
             probability that there is one
    """

    instrument: str
    visit: int
    time: np.ndarray
    flux: np.ndarray
    model: np.ndarray
    transit_model: np.ndarray
    sigma: float
    level: float
    t0: float
    duration: float
    chi2: float
    red_noise: float
    red_noise_probability: float


@dataclass(frozen=True)
class DepthEstimate:
    """What the light curves of one planet say about its spectrum.

    depth        (wavelength,)             (Rp/Rs)², maximum of the likelihood (weak priors on orbit and limb darkening)
    covariance   (wavelength, wavelength)  of depth, nuisance parameters marginalised, noise scaled to the residuals
    sigma_uncorrelated  (wavelength,)             standard deviation that a bin shares with no other bin
    level        (wavelength,)             electrons/s, 0 where the data have no light
    excess       (wavelength,)             residual variance over propagated variance
    orbit        ln(a/Rs), b², limb darkening (6): fitted values, (8,)
    nuisance     (parameter,) drift coefficients and, where the star is listed, the orbit, with nuisance_covariance (parameter,
                 parameter), nuisance_coupling (wavelength, parameter) = covariance with the depths, and nuisance_kind
                 (parameter,): *_KIND and drift_kinds of this module; population.nuisance_prior has the units
    flags        what is unusual; empty for a normal planet
    physical_covariance  (parameter, parameter) of orbit and, after its eight, the mid-transit time of each white curve, h; and
    physical_coupling    (wavelength, parameter), covariance with the depths. Both are empty where they are not known: in an estimate
                         that was conditioned on a population
    """

    planet_id: str
    depth: np.ndarray
    covariance: np.ndarray
    sigma_uncorrelated: np.ndarray
    level: np.ndarray
    excess: np.ndarray
    orbit: np.ndarray
    nuisance: np.ndarray
    nuisance_covariance: np.ndarray
    nuisance_coupling: np.ndarray
    nuisance_kind: np.ndarray
    white: tuple[WhiteCurve, ...]
    flags: tuple[Flag, ...]
    physical_covariance: np.ndarray = field(default_factory=lambda: NOT_KNOWN)
    physical_coupling: np.ndarray = field(default_factory=lambda: NOT_KNOWN)

    @property
    def sigma(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))


def drift_kinds(segment: Segment, orders: int) -> np.ndarray:
    """Which kind each drift coefficient of a segment is, (coefficient,), in the fit's order."""
    if segment.instrument == FGS1.name:
        return np.arange(TREND_ORDER)
    power, order = np.divmod(np.arange(TREND_ORDER * orders), orders)
    return TREND_ORDER + power * DRIFT_ORDERS + order


def save_estimate(path: Path | str, estimate: DepthEstimate, source: str) -> None:
    """Write an estimate atomically; source names the input it was made from."""
    arrays = {name: getattr(estimate, name) for name in (*_ARRAYS, *_PHYSICAL)}
    for n, curve in enumerate(estimate.white):
        arrays |= {f"white.{n}.{name}": getattr(curve, name) for name in _WHITE_ARRAYS}
    scalars = [
        {f.name: getattr(c, f.name) for f in fields(WhiteCurve) if f.name not in _WHITE_ARRAYS} for c in estimate.white
    ]
    text = {
        "planet_id": estimate.planet_id,
        "flags": json.dumps(estimate.flags),
        "white": json.dumps(scalars),
        "source": source,
    }
    save_arrays(path, arrays, text)


def load_estimate(path: Path | str) -> DepthEstimate:
    """Read an estimate back, bit by bit. Raises StorageError for a missing or damaged file."""
    arrays, text = load_arrays(path)
    white = tuple(
        WhiteCurve(**scalars, **{name: arrays[f"white.{n}.{name}"] for name in _WHITE_ARRAYS})
        for n, scalars in enumerate(json.loads(text["white"]))
    )
    return DepthEstimate(
        text["planet_id"],
        **{name: arrays[name] for name in _ARRAYS},
        white=white,
        flags=tuple(map(Flag, json.loads(text["flags"]))),
        **{name: arrays[name] for name in _PHYSICAL if name in arrays},  # estimates of an earlier version have none
    )


_ARRAYS = (
    "depth", "covariance", "sigma_uncorrelated", "level", "excess", "orbit",
    "nuisance", "nuisance_covariance", "nuisance_coupling", "nuisance_kind",
)  # fmt: skip
_PHYSICAL = ("physical_covariance", "physical_coupling")
_WHITE_ARRAYS = ("time", "flux", "model", "transit_model")
