"""Corrections of a transit fit estimated from the fits of many planets: the nuisance prior and the multiplicative bias.

Independent of spectral priors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
from ariel_lib.transit.population.nuisance_prior import NuisancePrior, fit_nuisance_prior
from ariel_lib.transit.result import DepthEstimate


@dataclass(frozen=True)
class PopulationCorrections:
    """Nuisance prior and multiplicative bias of one data set, fitted to the training planets and kept in a checkpoint.

    The nuisance prior needs no labels: new planets update it.
    """

    nuisance_prior: NuisancePrior
    bias: MultiplicativeBias

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate conditioned on the nuisance prior, then corrected for the multiplicative bias; each once, else SpectraMindError."""
        return self.bias.condition(self.nuisance_prior.condition(estimate))

    def updated_by(self, estimates: Sequence[DepthEstimate]) -> Self:
        """The same with the nuisance prior updated by the fits of new planets; itself where their visits are too few."""
        found = fit_nuisance_prior(estimates, known=self.nuisance_prior)
        return self if found is self.nuisance_prior else replace(self, nuisance_prior=found)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named arrays for a checkpoint; from_arrays is the inverse."""
        return {"nuisance_prior": self.nuisance_prior.covariance} | self.bias.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Inverse of to_arrays."""
        return cls(NuisancePrior(arrays["nuisance_prior"]), MultiplicativeBias(arrays["mean"], arrays["covariance"]))
