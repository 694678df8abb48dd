"""What the fits of many planets teach about every other planet's fit, spectra aside: how nuisances scatter, what the instrument does."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ariel_lib.transit.population.multiplicative_bias import Response
from ariel_lib.transit.population.nuisance_prior import Population
from ariel_lib.transit.result import DepthEstimate


@dataclass(frozen=True)
class Learned:
    """Taken from the training planets, kept in a checkpoint."""

    population: Population
    response: Response

    def condition(self, estimate: DepthEstimate) -> DepthEstimate:
        """A planet's estimate, given both."""
        return self.response.condition(self.population.condition(estimate))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"population": self.population.variance} | self.response.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        return cls(Population(arrays["population"]), Response(arrays["mean"], arrays["covariance"]))
