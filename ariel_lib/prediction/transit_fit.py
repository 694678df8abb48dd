"""A transit fit as a person reads it: named parameters with standard deviations, depths with their covariance, samples, a table.

Holds no fit of its own: transit.estimate makes it, and what it kept is read here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.errors import SpectraMindError
from ariel_lib.instrument import AIRS, FGS1, spectrum_wavelengths
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.prediction.light_curves import PlanetLightCurves
from ariel_lib.prediction.parameter import Parameter, make_quantity, make_table
from ariel_lib.prediction.transit_priors import LimbDarkening, Orbit, Prior, physical_priors
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT
from ariel_lib.transit.orbit import HOURS_A_DAY, transit_duration
from ariel_lib.transit.physical_priors import PhysicalPriors
from ariel_lib.transit.result import DepthEstimate, Flag
from ariel_lib.transit.tangent import AIRS_U, B_SQUARED, FGS1_U, LOG_A, N_PHYSICAL, SMALLEST_DEPTH

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import Quantity

    from ariel_lib.plots.figures import Figure


@dataclass(frozen=True, repr=False, eq=False)
class TransitFit:
    """What the light curves of one planet say of its transit, as `fit_transit` returns it; no spectral prior enters.

    estimate       the depths and what they share, as arrays
    star           the catalogue's star, or None
    curves         the light curves that were fitted
    wavelength_um  (wavelength,) micron, FGS1 first
    priors         of the parameters that the wavelengths share

    Depths and standard deviations are (Rp/Rs)², times h after the start of the visit's clock. `wavelength` and `transit_depth` are
    astropy quantities; without astropy they raise SpectraMindError, and `wavelength_um`, `depth` and `sigma` serve.

    >>> import numpy as np
    >>> from ariel_lib import Dataset, calibrate, fit_transit
    >>> dataset = Dataset(folder, split="test")
    >>> planet = dataset.planets[0]
    >>> fit = fit_transit(calibrate(dataset, planet), star=dataset.star(planet))
    >>> fit.a_over_rs.sigma > 0, fit.transit_duration.unit, fit.wavelength.unit
    (True, 'h', Unit("um"))
    >>> sorted(fit.samples(100, np.random.default_rng(0)))
    ['a_over_rs', 'impact_parameter', 't0', 'transit_depth', 'u1', 'u2']
    >>> table, figure = fit.to_table(), fit.plot()
    """

    estimate: DepthEstimate
    star: Star | None
    curves: tuple[LightCurves, ...]
    wavelength_um: np.ndarray
    priors: PhysicalPriors

    @property
    def planet_id(self) -> str:
        """The planet's id."""
        return self.estimate.planet_id

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What is unusual about the light curves or their fit; empty for a normal planet."""
        return self.estimate.flags

    @property
    def depth(self) -> np.ndarray:
        """(Rp/Rs)², (wavelength,)."""
        return self.estimate.depth

    @property
    def sigma(self) -> np.ndarray:
        """Standard deviation of the depth, (wavelength,): the root of the covariance's diagonal."""
        return self.estimate.sigma

    @property
    def covariance(self) -> np.ndarray:
        """Of the depths, (wavelength, wavelength), all other parameters marginalised."""
        return self.estimate.covariance

    @property
    def wavelength(self) -> "Quantity":
        """Wavelength in micron, (wavelength,)."""
        return make_quantity(self.wavelength_um, "um")

    @property
    def transit_depth(self) -> "Quantity":
        """(Rp/Rs)², (wavelength,), dimensionless."""
        return make_quantity(self.depth, "")

    @property
    def a_over_rs(self) -> Parameter:
        """Semi-major axis in stellar radii."""
        a = math.exp(self.estimate.orbit[LOG_A])
        return Parameter(a, a * self._physical_sigma(LOG_A))

    @property
    def impact_parameter(self) -> Parameter:
        """a cos(i) / Rs. The fit's own parameter is its square: sigma is half the interval that b² plus and minus its own spans."""
        b_squared, sigma = self.estimate.orbit[B_SQUARED], self._physical_sigma(B_SQUARED)
        low, high = math.sqrt(max(b_squared - sigma, 0.0)), math.sqrt(b_squared + sigma)
        return Parameter(math.sqrt(b_squared), (high - low) / 2)

    @property
    def t0(self) -> dict[tuple[int, str], Parameter]:
        """Mid-transit times, h, by visit and instrument: the clocks of FGS1 and AIRS may differ."""
        return {
            (curve.visit, curve.instrument): Parameter(curve.t0, self._physical_sigma(N_PHYSICAL + n), "h")
            for n, curve in enumerate(self.estimate.white)
        }

    @property
    def transit_duration(self) -> Parameter:
        """First to fourth contact of the mean depth, h; its standard deviation to first order in a/Rs, b² and depth."""
        share = self.estimate.sigma_uncorrelated**-2 / np.sum(self.estimate.sigma_uncorrelated**-2)
        rows = np.zeros((3, len(self.depth) + N_PHYSICAL + len(self.estimate.white)))
        rows[0, : len(share)] = share
        rows[1, len(share) + LOG_A] = rows[2, len(share) + B_SQUARED] = 1.0
        point = np.array([max(float(share @ self.depth), SMALLEST_DEPTH), *self.estimate.orbit[[LOG_A, B_SQUARED]]])
        covariance = rows @ self._joint_covariance() @ rows.T
        slope = [(self._duration(point + step) - self._duration(point)) / step.sum() for step in 1e-6 * np.diag([point[0], 1.0, 1.0])]
        return Parameter(self._duration(point), math.sqrt(max(float(slope @ covariance @ slope), 0.0)), "h")

    @property
    def limb_darkening(self) -> LimbDarkening:
        """u1 and u2 at each wavelength, with standard deviations."""
        in_u1, in_u2 = self._limb_darkening_basis()
        u, covariance = self.estimate.orbit, self.estimate.physical_covariance[:N_PHYSICAL, :N_PHYSICAL]
        sigmas = [np.sqrt(np.sum((basis @ covariance) * basis, axis=1)) for basis in (in_u1, in_u2)]
        return LimbDarkening(in_u1 @ u, in_u2 @ u, *sigmas)

    @property
    def orbit(self) -> Orbit:
        """The fitted orbit, which can be another fit's prior."""
        a, b = self.a_over_rs, self.impact_parameter
        return Orbit((a.value, a.sigma), (b.value, b.sigma), self.priors.orbit.period / HOURS_A_DAY)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that are one number, by name."""
        named = {"a_over_rs": self.a_over_rs, "impact_parameter": self.impact_parameter, "transit_duration": self.transit_duration}
        return named | {f"t0, visit {visit}, {instrument}": found for (visit, instrument), found in self.t0.items()}

    def samples(self, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draws from the joint Gaussian posterior of depths, orbit, limb darkening and mid-transit times.

        n    how many
        rng  numpy's generator
        Returns transit_depth, u1 and u2 (n, wavelength), a_over_rs and impact_parameter (n,), t0 (n, segment) in h in the order of
        `t0`. The Gaussian is in ln(a/Rs) and b²: a b² below 0 is drawn as a central transit.
        """
        mean = np.concatenate([self.depth, self.estimate.orbit, [curve.t0 for curve in self.estimate.white]])
        drawn = draw_gaussian(mean, self._joint_covariance(), n, rng)
        depth, physical, t0 = np.split(drawn, [len(self.depth), len(self.depth) + N_PHYSICAL], axis=1)
        in_u1, in_u2 = self._limb_darkening_basis()
        return {
            "transit_depth": depth, "a_over_rs": np.exp(physical[:, LOG_A]),
            "impact_parameter": np.sqrt(np.maximum(physical[:, B_SQUARED], 0.0)),
            "u1": physical @ in_u1.T, "u2": physical @ in_u2.T, "t0": t0,
        }  # fmt: skip

    def to_table(self) -> "Table":
        """An astropy table of a row for each wavelength; the parameters that are one number are in its meta. Raises SpectraMindError
        without astropy."""
        u = self.limb_darkening
        columns = {"wavelength": self.wavelength_um, "transit_depth": self.depth, "sigma": self.sigma}
        columns |= {name: getattr(u, name) for name in ("u1", "u1_sigma", "u2", "u2_sigma")}
        units = {"wavelength": "um", "transit_depth": "", "sigma": ""}
        parameters = {name: (p.value, p.sigma, p.unit) for name, p in self.parameters.items()}
        return make_table(columns, units, {"planet_id": self.planet_id, "flags": list(self.flags), "parameters": parameters})

    def plot(self) -> "Figure":
        """White light and the fit, a column for each instrument and visit."""
        from ariel_lib.plots.figures import draw_transits

        return draw_transits({f"{w.instrument}, visit {w.visit}": (w.time, w.flux, w.model) for w in self.estimate.white})

    def __repr__(self) -> str:
        flags = f", {', '.join(self.flags)}" if self.flags else ""
        return (
            f"TransitFit(planet {self.planet_id}, a/Rs {self.a_over_rs}, b {self.impact_parameter}, duration {self.transit_duration}, "
            f"mean depth {self.depth.mean():.6f}{flags})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(found))}</td></tr>" for name, found in self.parameters.items())
        flags = f"<p>{escape(', '.join(self.flags))}</p>" if self.flags else ""
        return f"<p>Transit fit of planet {escape(self.planet_id)}</p><table>{rows}</table>{flags}"

    def _physical_sigma(self, index: int) -> float:
        return math.sqrt(self.estimate.physical_covariance[index, index])

    def _joint_covariance(self) -> np.ndarray:
        """Of depths, then orbit and limb darkening (8), then the mid-transit times."""
        e = self.estimate
        return np.block([[e.covariance, e.physical_coupling], [e.physical_coupling.T, e.physical_covariance]])

    def _duration(self, point: np.ndarray) -> float:
        depth, log_a, b_squared = (float(value) for value in point)
        return transit_duration(self.priors.orbit.period, log_a, b_squared, math.sqrt(depth))

    def _limb_darkening_basis(self) -> tuple[np.ndarray, np.ndarray]:
        """(wavelength, 8) each: what turns the eight physical parameters into u1 and into u2."""
        scaled = np.stack([np.ones(len(self.wavelength_um)), (self.wavelength_um - AIRS_PIVOT) / AIRS_HALF_WIDTH], axis=1)
        bases = np.zeros((2, len(scaled), N_PHYSICAL))
        for n, basis in enumerate(bases):
            basis[0, FGS1_U.start + n] = 1.0
            basis[1:, AIRS_U.start + 2 * n : AIRS_U.start + 2 * n + 2] = scaled[1:]
        return bases[0], bases[1]


def fit_transit(
    curves: PlanetLightCurves | LightCurves | Sequence[LightCurves],
    *,
    star: Star | None = None,
    wavelength: np.ndarray | None = None,
    orbit: Orbit | None = None,
    limb_darkening: LimbDarkening | None = None,
    t0: Prior | Mapping[int, Prior] | None = None,
) -> TransitFit:
    """Fit a limb-darkened transit on a circular orbit to all visits of a planet together.

    curves          as `calibrate` returns them, or the planet's LightCurves
    star            the catalogue's star, whose orbit and temperature give loose priors; None: priors that cover the stars of 2025
    wavelength      (wavelength,) micron, FGS1 first, where curves do not tell; default: those of the 2025 challenge
    orbit           priors or fixed values in place of the star's
    limb_darkening  the same for limb darkening
    t0              mid-transit time in h, by visit: {visit: hours} or {visit: (mean, standard deviation)}; for a planet of one visit
                    the value alone. It is then not searched. FGS1 and AIRS each have a time of their own under this prior

    A number alone holds a parameter fixed: the posterior's standard deviation is then below 1e-6.
    Raises SpectraMindError for an eccentric star without orbit= (e above 0.01), for values that are not finite, negative or of a wrong
    length, and ArchiveError for light curves without a usable sample.

    >>> from ariel_lib import Dataset, Orbit, calibrate, fit_transit
    >>> dataset = Dataset(folder, split="test")
    >>> planet = dataset.planets[0]
    >>> curves, star = calibrate(dataset, planet), dataset.star(planet)
    >>> fit = fit_transit(curves, star=star, orbit=Orbit(a_over_rs=star.sma))
    >>> abs(fit.a_over_rs.value / star.sma - 1) < 1e-6, fit.depth.shape
    (True, (283,))
    """
    visits = (curves,) if isinstance(curves, LightCurves) else tuple(curves)
    axis = _wavelengths_of(curves, visits, wavelength)
    priors = physical_priors(star, orbit, limb_darkening, t0, visits, axis)
    with threadpool_limits(1):  # the last bits depend on the number of threads
        estimate = estimate_depths(list(visits), star, axis, priors)
    return TransitFit(estimate, star, visits, axis, priors)


def _wavelengths_of(curves: object, visits: tuple[LightCurves, ...], wavelength: np.ndarray | None) -> np.ndarray:
    """The wavelength axis of a fit, checked against the light curves. Raises SpectraMindError."""
    if not visits:
        raise SpectraMindError("curves: expected the light curves of at least one visit, found none")
    if planets := sorted({found.planet_id for found in visits} - {visits[0].planet_id}):
        raise SpectraMindError(f"curves: expected the visits of one planet, found {visits[0].planet_id} and {', '.join(planets)}")
    if wavelength is None:
        wavelength = curves.wavelength_um if isinstance(curves, PlanetLightCurves) else spectrum_wavelengths()
    axis, expected = np.asarray(wavelength, dtype=float), 1 + visits[0].airs.flux.shape[1]
    if axis.shape != (expected,):
        raise SpectraMindError(
            f"wavelength: expected {expected} values, {FGS1.name}'s and {AIRS.name}'s of these light curves, found shape {axis.shape}"
        )
    if not (np.isfinite(axis).all() and (np.diff(axis) > 0).all() and axis[0] > 0):
        raise SpectraMindError("wavelength: expected ascending finite values in micron, found others")
    return axis


def draw_gaussian(mean: np.ndarray, covariance: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws (n, variable) of a Gaussian whose variances may differ by many orders of magnitude. Raises SpectraMindError for n below 1."""
    if n < 1:
        raise SpectraMindError(f"samples: expected n of at least 1, found {n}")
    scale = np.sqrt(np.diag(covariance))
    size, modes = np.linalg.eigh(covariance / np.outer(scale, scale))
    return mean + rng.standard_normal((n, len(mean))) @ (modes * np.sqrt(np.maximum(size, 0.0))).T * scale
