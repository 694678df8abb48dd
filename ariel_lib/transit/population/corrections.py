"""What the fits of many planets teach about every other planet's fit, spectra aside: how nuisances scatter, what the instrument does."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
from ariel_lib.transit.population.nuisance_prior import NuisancePrior
from ariel_lib.transit.result import DepthEstimate


@dataclass(frozen=True)
class PopulationCorrections:
    """Taken from the training planets, kept in a checkpoint."""

    nuisance_prior: NuisancePrior
    bias: MultiplicativeBias

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """A planet's estimate, given both."""
        return self.bias.condition(self.nuisance_prior.condition(estimate))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"nuisance_prior": self.nuisance_prior.variance} | self.bias.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        return cls(NuisancePrior(arrays["nuisance_prior"]), MultiplicativeBias(arrays["mean"], arrays["covariance"]))
