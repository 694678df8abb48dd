"""Corrections of a transit fit estimated from the fits of many planets: the nuisance prior and the multiplicative bias.

Independent of spectral priors.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
from ariel_lib.transit.population.nuisance_prior import NuisancePrior
from ariel_lib.transit.result import DepthEstimate


@dataclass(frozen=True)
class PopulationCorrections:
    """Nuisance prior and multiplicative bias of one data set, fitted to the training planets and kept in a checkpoint."""

    nuisance_prior: NuisancePrior
    bias: MultiplicativeBias

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate conditioned on the nuisance prior, then corrected for the multiplicative bias; each once, else SpectraMindError."""
        return self.bias.condition(self.nuisance_prior.condition(estimate))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named arrays for a checkpoint; from_arrays is the inverse."""
        return {"nuisance_prior": self.nuisance_prior.covariance} | self.bias.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Inverse of to_arrays."""
        return cls(NuisancePrior(arrays["nuisance_prior"]), MultiplicativeBias(arrays["mean"], arrays["covariance"]))
