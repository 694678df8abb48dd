"""A transmission spectrum of one planet with its standard deviations, as a person reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.prediction.parameter import make_quantity, make_table
from ariel_lib.prediction.transit_fit import draw_gaussian

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import Quantity

    from ariel_lib.plots.figures import Figure


@dataclass(frozen=True, repr=False, eq=False)
class Spectrum:
    """The transit depth (Rp/Rs)² of a planet at each wavelength.

    planet_id
    wavelength_um  (wavelength,) micron, FGS1 first
    depth, sigma   (wavelength,) the depth and its standard deviation. V50's standard deviations are marginal: each is of its own
                   wavelength, and errors of neighbouring wavelengths are not independent
    covariance     (wavelength, wavelength) of the depth, or None where it is not known, as for V50
    answers        other spectra of the same light curves by name: `initial`, the estimate that V50 corrects, whose name is its note;
                   `gaussian`, the transit fit's posterior under the Gaussian spectral prior; `fit`, the transit fit alone, given the
                   population's corrections
    note           a remark, or ''

    `wavelength` and `transit_depth` are astropy quantities; without astropy they raise SpectraMindError. Raises SpectraMindError for
    arrays of different lengths and for standard deviations that are not positive.

    >>> import numpy as np
    >>> from ariel_lib import Spectrum
    >>> wavelength = np.array([0.7, 1.95, 2.9, 3.9])
    >>> spectrum = Spectrum("42", wavelength, np.array([0.0101, 0.0100, 0.0102, 0.0103]), np.full(4, 3e-5))
    >>> spectrum
    Spectrum(planet 42, 4 wavelengths from 0.70 to 3.90 micron, mean depth 0.010150, median sigma 30 ppm)
    >>> spectrum.wavelength.unit, spectrum.transit_depth.to("percent")[0]
    (Unit("um"), <Quantity 1.01 %>)
    >>> spectrum.samples(1000, np.random.default_rng(0), independent=True).shape
    (1000, 4)
    >>> table, figure = spectrum.to_table(), spectrum.plot(truth=np.full(4, 0.0101))
    """

    planet_id: str
    wavelength_um: np.ndarray
    depth: np.ndarray
    sigma: np.ndarray
    covariance: np.ndarray | None = None
    answers: Mapping[str, "Spectrum"] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("wavelength_um", "depth", "sigma"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        n = len(self.wavelength_um) if self.wavelength_um.ndim == 1 else -1
        shapes = {"wavelength_um": (n,), "depth": (n,), "sigma": (n,)} | ({} if self.covariance is None else {"covariance": (n, n)})
        wrong = [f"{name} {np.shape(getattr(self, name))}" for name, shape in shapes.items() if np.shape(getattr(self, name)) != shape]
        if wrong:
            raise SpectraMindError(f"spectrum of planet {self.planet_id}: expected arrays of one length, found {', '.join(wrong)}")
        if not (np.isfinite(self.depth).all() and np.isfinite(self.sigma).all() and (self.sigma > 0).all()):
            raise SpectraMindError(f"spectrum of planet {self.planet_id}: expected finite depths and positive sigmas, found others")

    @property
    def wavelength(self) -> "Quantity":
        """Wavelength in micron, (wavelength,)."""
        return make_quantity(self.wavelength_um, "um")

    @property
    def transit_depth(self) -> "Quantity":
        """(Rp/Rs)², (wavelength,), dimensionless."""
        return make_quantity(self.depth, "")

    def samples(self, n: int, rng: np.random.Generator, *, independent: bool = False) -> np.ndarray:
        """Draws of the spectrum, (n, wavelength).

        n            how many
        rng          numpy's generator
        independent  draw every wavelength by itself from its standard deviation, also where a covariance is known
        Raises SpectraMindError where no covariance is known, unless independent is True: such draws scatter as the sigmas say at each
        wavelength, but a mean over wavelengths scatters less than it should.
        """
        if self.covariance is None and not independent:
            raise SpectraMindError(
                f"samples of planet {self.planet_id}: expected a covariance, found standard deviations alone. Pass independent=True to "
                "draw each wavelength by itself, or draw from answers['gaussian'] or the TransitFit, whose covariances are known."
            )
        covariance = np.diag(self.sigma**2) if independent or self.covariance is None else self.covariance
        return draw_gaussian(self.depth, covariance, n, rng)

    def to_table(self) -> "Table":
        """An astropy table of a row for each wavelength, the other answers among its columns. Raises SpectraMindError without astropy."""
        columns = {"wavelength": self.wavelength_um, "transit_depth": self.depth, "sigma": self.sigma}
        for name, other in self.answers.items():
            columns |= {f"{name}_depth": other.depth, f"{name}_sigma": other.sigma}
        units = {name: "um" if name == "wavelength" else "" for name in columns}
        return make_table(columns, units, {"planet_id": self.planet_id, "note": self.note})

    def plot(self, truth: np.ndarray | None = None, *, unit: str = "ppm") -> "Figure":
        """The spectrum with its 1-sigma band.

        truth  (wavelength,) the true depths, where they are known
        unit   'ppm' or 'percent'
        """
        from ariel_lib.plots.figures import draw_spectra

        known = None if truth is None else np.asarray(truth, dtype=float)
        if known is not None and known.shape != self.depth.shape:
            raise SpectraMindError(f"truth: expected {len(self.depth)} wavelengths, found shape {known.shape}")
        rows = self.depth[None], self.sigma[None]
        return draw_spectra(
            [self.planet_id], *rows, truth=None if known is None else known[None], wavelengths=self.wavelength_um, unit=unit
        )

    def __repr__(self) -> str:
        return (
            f"Spectrum(planet {self.planet_id}, {len(self.depth)} wavelengths from {self.wavelength_um[0]:.2f} to "
            f"{self.wavelength_um[-1]:.2f} micron, mean depth {self.depth.mean():.6f}, median sigma {1e6 * np.median(self.sigma):.0f} ppm)"
        )

    def _repr_html_(self) -> str:
        chosen = sorted({0, *np.linspace(min(1, len(self.depth) - 1), len(self.depth) - 1, 6).astype(int)})
        rows = "".join(
            f"<tr><td>{self.wavelength_um[n]:.3f}</td><td>{self.depth[n]:.6f}</td><td>{1e6 * self.sigma[n]:.0f}</td></tr>" for n in chosen
        )
        head = "<tr><th>wavelength (micron)</th><th>transit depth</th><th>sigma (ppm)</th></tr>"
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        title = f"<p>Spectrum of planet {escape(self.planet_id)}: {len(chosen)} of {len(self.depth)} wavelengths</p>"
        return f"{title}<table>{head}{rows}</table>{note}"
