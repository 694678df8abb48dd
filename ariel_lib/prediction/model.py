"""A trained model as a person uses it: loaded from its file, it turns one planet's transit fit into a spectrum.

The same numbers as a submission of `predict`: the same checks, corrections, network and threads. A submission of many planets updates the
population corrections by their visits first: so does `Model.updated_by`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.light_curves import LightCurves
from ariel_lib.io.submission import SIGMA_FLOOR
from ariel_lib.models.threads import threads
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFit
from ariel_lib.prediction.answer import answer
from ariel_lib.prediction.predict import RejectedFitError, load_checkpoint
from ariel_lib.prediction.spectrum import Spectrum
from ariel_lib.prediction.transit_fit import TransitFit
from ariel_lib.transit.quality import rejection_reason


@dataclass(frozen=True)
class _FitInMemory(PlanetFit):
    """A planet's fit whose light curves are at hand, not on disk."""

    curves: tuple[LightCurves, ...] = ()

    def visits(self) -> list[LightCurves]:
        return list(self.curves)


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """V50 with its spectral priors, population corrections and temperature, as training left them.

    checkpoint  all of it
    path        the file that it was loaded from

    >>> from ariel_lib import Dataset, Model, calibrate, fit_transit
    >>> dataset, model = Dataset(folder, split="test"), Model.load(weights)
    >>> planet = dataset.planets[0]
    >>> spectrum = model.predict(fit_transit(calibrate(dataset, planet), star=dataset.star(planet)))
    >>> spectrum.depth.shape == model.wavelengths.shape, sorted(spectrum.answers)
    (True, ['fit', 'gaussian', 'initial'])
    """

    checkpoint: Checkpoint
    path: Path

    @classmethod
    def load(cls, path: Path | str, *, device: str = "auto") -> "Model":
        """Read weights.safetensors, checked against manifest.json beside it.

        device  on which it predicts: cpu, cuda, or auto for CUDA where it works

        Raises StorageError for a file that is missing, damaged, of another format, or not the one that a manifest lists, DeviceError
        for cuda where it does not work.
        """
        return cls(load_checkpoint(Path(path), device), Path(path))

    @property
    def wavelengths(self) -> np.ndarray:
        """Wavelengths of its spectra, micron, FGS1 first, (wavelength,)."""
        return self.checkpoint.wavelength

    def updated_by(self, fits: Iterable[TransitFit]) -> "Model":
        """The model with the population of drifts and orbits updated by the transit fits of new planets, as a submission of them has it.

        No labels are used. Of fewer than twenty visits the population is not updated, and fits that `predict` would reject take no part.
        """
        estimates = [fit.estimate for fit in fits if not rejection_reason(fit.estimate)]
        with threads(self.checkpoint.config["training"]["threads"]):
            return Model(self.checkpoint.updated_by(estimates), self.path)

    def predict(self, fit: TransitFit) -> Spectrum:
        """The spectrum of one planet, as `spectramind predict` would write it for the same light curves and fit, to the last bit.

        With twenty visits or more, a submission is that of the model updated by them, see updated_by.

        Raises SpectraMindError for a fit on another wavelength axis, RejectedFitError for one from which no spectrum should be read,
        InvalidSpectrumError where the network's is invalid. What the network raises is raised; on a GPU it is first run again on the CPU.
        """
        if len(fit.wavelength_um) != len(self.wavelengths):
            raise SpectraMindError(
                f"planet {fit.planet_id}: expected a fit at the {len(self.wavelengths)} wavelengths of {self.path}, found "
                f"{len(fit.wavelength_um)}"
            )
        if reason := rejection_reason(fit.estimate):
            raise RejectedFitError(
                f"planet {fit.planet_id}: no spectrum is read off this fit: {reason}. A submission has the training mean."
            )
        with threads(self.checkpoint.config["training"]["threads"]):
            estimate = self.checkpoint.condition(fit.estimate)
            found = answer(_FitInMemory(estimate, fit.star, paths=(), curves=fit.curves), self.checkpoint)
            gaussian = self.checkpoint.prior.posterior(estimate.depth, estimate.covariance)
        answers = {
            "initial": self._spectrum(fit, found.initial_mean, found.initial_sigma, note=found.initial_estimate),
            "gaussian": self._spectrum(fit, found.gaussian_mean, found.gaussian_sigma, gaussian.covariance),
            "fit": self._spectrum(fit, found.depth, found.depth_sigma, estimate.covariance),
        }
        sigma = np.maximum(found.sigma, SIGMA_FLOOR)  # as in a submission
        return Spectrum(fit.planet_id, fit.wavelength_um, found.mean, sigma, answers=answers, note=found.note)

    def _spectrum(
        self, fit: TransitFit, depth: np.ndarray, sigma: np.ndarray, covariance: np.ndarray | None = None, *, note: str = ""
    ) -> Spectrum:
        return Spectrum(fit.planet_id, fit.wavelength_um, depth, sigma, covariance, note=note)

    def __repr__(self) -> str:
        members = len(self.checkpoint.network.members)
        parameters = sum(p.numel() for p in self.checkpoint.network.parameters())
        networks = f"{members} network{'s' * (members != 1)}, {parameters} parameters"
        return f"Model({str(self.path)!r}, {len(self.wavelengths)} wavelengths, {networks})"
