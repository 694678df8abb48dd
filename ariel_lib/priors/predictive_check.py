"""Predictive check: whether the Gaussian prior on spectra explains a planet's measured depths.

The depths' evidence under the prior is set against that under smooth spectra of any shape and of a wide range of sizes. For depths that
the prior generates the mean of the ratio is 1, so that it exceeds 1 / RATE for at most the share RATE of them (Markov's inequality; the
ratio is an e-value: Vovk & Wang 2021, Ann. Statist. 49, 1736). The bound needs no draws and holds for any noise that is as stated. The
white depth has the same prior on both sides, and decides nothing.
"""

import numpy as np

from ariel_lib.priors.gaussian import Conditional, SpectralPrior, gaussian_process

RATE = 1e-3  # share of the planets of the prior's own kind that are called unusual, at most
N_SIZES = 12
LARGEST = 30.0  # of the sizes of other spectra, over the largest amplitude of the prior


def other_spectra(prior: SpectralPrior, wavelength: np.ndarray) -> SpectralPrior:
    """Smooth spectra of any shape, as large as the prior's smallest amplitude up to LARGEST times its largest."""
    sizes = np.geomspace(prior.amplitudes[0], LARGEST * prior.amplitudes[-1], N_SIZES)
    return SpectralPrior(prior.offset, np.zeros(len(wavelength)), gaussian_process(wavelength), sizes, np.full(N_SIZES, 1 / N_SIZES))


def log_evidence_against(prior: SpectralPrior, conditional: Conditional, wavelength: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Logarithm of the evidence (draw,) of other smooth spectra over that of the prior.

    conditional  the prior combined with the noise of the depths
    wavelength   (wavelength,) micron, FGS1 first
    depth        (draw, wavelength) measured depths
    """
    others = other_spectra(prior, wavelength).conditioned_on(conditional.noise)
    return others.log_evidence(depth) - conditional.log_evidence(depth)


def is_unusual(log_evidence: np.ndarray) -> np.ndarray:
    """Whether evidence against the prior is so large that at most the share RATE of its own planets have it."""
    return log_evidence > -np.log(RATE)
