"""Results of a transit fit: depths with their covariance, nuisance parameters, white light curves and flags, and their file.

Plain values, independent of how the fit is made.
"""

import json
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import FGS1
from ariel_lib.io.storage import StorageError, load_arrays, save_arrays
from ariel_lib.transit.segments import DRIFT_ORDERS, TREND_ORDER, Segment, drift_terms

LOG_A_KIND, B_SQUARED_KIND = (TREND_ORDER + int(DRIFT_ORDERS.sum()) + n for n in range(2))
NOT_KNOWN = np.zeros((0, 0))
KINDS = B_SQUARED_KIND + 1  # drift of FGS1, drift of AIRS by function of time and order in wavelength, orbit


class Flag(StrEnum):
    """Properties of the light curves or of the fit that call for caution; an ordinary planet has none."""

    NO_TRANSIT = "no_transit"  # the mean depth is below five standard errors
    PARTIAL_TRANSIT = "partial_transit"  # ingress or egress lies outside a visit
    GRAZING = "grazing"
    EXCESS_NOISE = "excess_noise"  # residuals well above the propagated variance
    MISSING_CHANNELS = "missing_channels"  # wavelengths without light
    RED_NOISE = "red_noise"
    NOT_CONVERGED = "not_converged"
    STEP = "step"  # events found in the residuals and included in the fit, see events.py
    FLARE = "flare"
    SPOT_CROSSING = "spot_crossing"
    BUMP = "bump"
    UNUSUAL_DRIFT = "unusual_drift"  # larger or of another shape than the population of planets shows
    UNUSUAL_SPECTRUM = "unusual_spectrum"  # the spectral prior does not explain the depths, see priors/predictive_check.py
    ECCENTRIC = "eccentric"  # the orbit in the star table is eccentric, that of the fit circular: see physical_priors.py
    ORBIT_UNKNOWN = "orbit_unknown"  # the star table lacks part of the orbit, or lists one that does not transit: a wide prior instead


class CorrectionKind(StrEnum):
    """Population corrections of an estimate, in the order in which they are applied, each once; see population/corrections.py."""

    NUISANCE_PRIOR = "nuisance_prior"
    MULTIPLICATIVE_BIAS = "multiplicative_bias"


@dataclass(frozen=True)
class WhiteCurve:
    """White light curve of one instrument in one visit, with its fitted model.

    time                   (time,)  h
    flux, model            (time,)  relative to level
    transit_model          (time,)  relative to level: the model without centroid regressors and events
    sigma                  standard deviation of a sample of flux, propagated
    level                  electrons per sample
    t0, duration           mid-transit time and transit duration, h
    chi2                   variance of the white component of the residuals over sigma²
    red_noise              variance of their red (correlated) component over sigma²
    red_noise_probability  posterior probability that a red component exists
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
    """Transmission spectrum of one planet from a transit fit to its light curves, without any spectral prior.

    depth                (wavelength,)             (Rp/Rs)², maximum likelihood with weak priors on orbit and limb darkening
    covariance           (wavelength, wavelength)  of depth, nuisance parameters marginalised, noise scaled to the residuals
    sigma_uncorrelated   (wavelength,)             standard deviation of the part of the error that is independent between bins
    level                (wavelength,)             stellar signal, electrons/s; 0 where there are no data
    excess               (wavelength,)             residual variance over propagated variance
    orbit                (8,)                      fitted ln(a/Rs), b², limb darkening (6)
    nuisance             (parameter,)              drift coefficients and, where the star table lists it, the orbit: deviation
                                                   from the prior mean in units of the prior standard deviation
    nuisance_covariance  (parameter, parameter)
    nuisance_coupling    (wavelength, parameter)   covariance of depth and nuisance
    nuisance_kind        (parameter,)              kind of each nuisance parameter, see drift_kinds, LOG_A_KIND, B_SQUARED_KIND
    white                one white light curve per segment
    flags                see Flag; empty for an ordinary planet
    physical_covariance  (physical, physical)      of orbit and, after its eight, the mid-transit time (h) of each white light curve
    physical_coupling    (wavelength, physical)    covariance of depth and these; both empty where not known: in an estimate that was
                                                   conditioned on the population corrections
    corrections          population corrections that the estimate is conditioned on, in their order; empty as the fit leaves it
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
    corrections: tuple[CorrectionKind, ...] = ()

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of depth, (wavelength,)."""
        return np.sqrt(np.diag(self.covariance))

    def corrected(self, kind: CorrectionKind, **changes: np.ndarray) -> Self:
        """The estimate with other values after a population correction, marked with its kind.

        Raises SpectraMindError where that correction, or one that comes after it, was applied before: a second time it would use the
        same evidence twice.
        """
        self.require_before(kind)
        return replace(self, **changes, corrections=(*self.corrections, kind))

    def require_before(self, kind: CorrectionKind) -> None:
        """Raise SpectraMindError unless a population correction can still be applied, or fitted: neither it nor a later one was."""
        order = list(CorrectionKind)
        if any(order.index(applied) >= order.index(kind) for applied in self.corrections):
            raise SpectraMindError(
                f"planet {self.planet_id}, {kind.replace('_', ' ')}: expected an estimate without this population correction or a later "
                f"one, found one conditioned on {', '.join(self.corrections)}. Start from the estimate of the transit fit."
            )


def drift_kinds(segment: Segment) -> np.ndarray:
    """Kind of each drift coefficient of a segment, in the order of the fit, (coefficient,).

    FGS1: one kind per function of time. AIRS: one per function of time and order in wavelength.
    """
    power, order = drift_terms(segment)
    if segment.instrument == FGS1.name:
        return power
    return TREND_ORDER + np.concatenate([[0], np.cumsum(DRIFT_ORDERS)])[power] + order


def save_estimate(path: Path | str, estimate: DepthEstimate, source: str) -> None:
    """Write an estimate atomically. source: digest of the input it was made from, kept in the file's metadata."""
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
        "corrections": json.dumps(estimate.corrections),
    }
    save_arrays(path, arrays, text)


def load_estimate(path: Path | str) -> DepthEstimate:
    """Read an estimate; arrays are identical to those saved. Raises StorageError for a missing or damaged file."""
    arrays, text = load_arrays(path)
    try:
        white = tuple(
            WhiteCurve(**scalars, **{name: arrays[f"white.{n}.{name}"] for name in _WHITE_ARRAYS})
            for n, scalars in enumerate(json.loads(text["white"]))
        )
        return DepthEstimate(
            text["planet_id"],
            **{name: arrays[name] for name in _ARRAYS},
            white=white,
            flags=tuple(map(Flag, json.loads(text["flags"]))),
            # files of earlier versions have neither
            **{name: arrays[name] for name in _PHYSICAL if name in arrays},
            corrections=tuple(map(CorrectionKind, json.loads(text.get("corrections", "[]")))),
        )
    except KeyError as missing:
        raise StorageError(f"{path}: expected a transit fit, found no {missing}. Remove it: the planet is then fitted again.") from missing


_ARRAYS = (
    "depth", "covariance", "sigma_uncorrelated", "level", "excess", "orbit",
    "nuisance", "nuisance_covariance", "nuisance_coupling", "nuisance_kind",
)  # fmt: skip
_PHYSICAL = ("physical_covariance", "physical_coupling")
_WHITE_ARRAYS = ("time", "flux", "model", "transit_model")
