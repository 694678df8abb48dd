"""Flux of a star occulted by a dark disc for limb darkening in any powers of μ: I(μ) = Σ_n w_n μ^p_n.

The power-2 law (Hestroffer 1997, A&A 327, 199), the four-parameter law (Claret 2000, A&A 363, 1081) and the quadratic one are of this
form. A Gauss–Legendre integral over the stellar radius in the variable that removes the square roots at both ends, as in
transit.occultation, which has the moments of the quadratic law only.
"""

from dataclasses import dataclass

import numpy as np

from ariel_lib.execution.compilation import compiled

_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_ANGLE = 0.5 * np.pi * (_ROOTS + 1)
_STEPS = 160  # of the table
_COS, _SIN_WEIGHT = np.cos(_ANGLE), 0.5 * np.pi * _WEIGHTS * np.sin(_ANGLE)


@dataclass(frozen=True)
class LimbDarkening:
    """I(μ) = Σ_n weight_n μ^power_n at each wavelength; the powers are at least 0 and I(1) = 1.

    weight  (wavelength, n)
    power   (wavelength, n)
    """

    weight: np.ndarray
    power: np.ndarray

    @classmethod
    def power2(cls, c: np.ndarray, alpha: np.ndarray) -> "LimbDarkening":
        """1 − c (1 − μ^α); c, alpha (wavelength,)."""
        return cls(np.stack([1 - c, c], axis=1), np.stack([np.zeros_like(alpha), alpha], axis=1))

    @classmethod
    def four_parameter(cls, c: np.ndarray) -> "LimbDarkening":
        """1 − Σ c_n (1 − μ^(n/2)), n = 1 … 4; c (wavelength, 4)."""
        return cls(np.column_stack([1 - c.sum(axis=1), c]), np.tile([0.0, 0.5, 1.0, 1.5, 2.0], (len(c), 1)))

    def at(self, chosen: np.ndarray) -> "LimbDarkening":
        """The law at chosen wavelengths, given by number."""
        return LimbDarkening(self.weight[chosen], self.power[chosen])

    def intensity(self, mu: np.ndarray) -> np.ndarray:
        """I(μ), (wavelength, mu). mu (mu,)."""
        return np.einsum("wn,wnm->wm", self.weight, mu ** self.power[:, :, None])

    def relative_flux(self, z: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Flux relative to the unocculted star, averaged over the parts of each exposure, (wavelength, time).

        z (time, part): distance of the centres in stellar radii; k (wavelength,): Rp/Rs. Within 0.1 ppm of batman for k up to 0.2.
        """
        flux = np.ones((len(k), len(z)))
        _light(*(np.ascontiguousarray(x, dtype=float) for x in (z, k, self.weight, self.power)), flux)
        return flux


@compiled(nogil=True)
def _hidden(z: float, k: float, weight: np.ndarray, power: np.ndarray) -> float:
    """Light behind a disc of radius k at distance z < 1 + k."""
    total = 0.0
    if k > z:  # the disc covers the centre: rings inside k − z are fully occulted
        edge = np.sqrt(max(0.0, 1.0 - min(1.0, k - z) ** 2))
        for n in range(weight.size):
            total += weight[n] * 2.0 * np.pi / (power[n] + 2.0) * (1.0 - edge ** (power[n] + 2.0))
    inner, outer = abs(z - k), min(1.0, z + k)
    if outer <= inner:
        return total
    middle, half = 0.5 * (outer + inner), 0.5 * (outer - inner)
    for node in range(_COS.size):
        r = middle - half * _COS[node]
        cosine = (r * r + z * z - k * k) / (2.0 * r * z)
        ring = 2.0 * np.arccos(min(1.0, max(-1.0, cosine))) * r * half * _SIN_WEIGHT[node]
        log_mu = 0.5 * np.log(max(1e-300, 1.0 - r * r))  # at the limb only the power 0 remains
        intensity = 0.0
        for n in range(weight.size):
            intensity += weight[n] * np.exp(power[n] * log_mu)
        total += ring * intensity
    return total


@compiled(nogil=True)
def _light(z, k, weight, power, flux):
    """Subtract the hidden light from flux in place; shapes as in LimbDarkening.relative_flux.

    The hidden light is tabulated between the contacts, 0, 1 − k and 1 + k, in the angle that removes the square roots at them, and
    interpolated by cubics: two tables of _STEPS in place of an integral for every sample.
    """
    samples, parts = z.shape
    table = np.empty((2, _STEPS + 3))
    for channel in range(k.size):
        disc = 0.0
        for n in range(weight.shape[1]):
            disc += weight[channel, n] * 2.0 * np.pi / (power[channel, n] + 2.0)
        contact = abs(1.0 - k[channel])
        bounds = (0.0, contact, 1.0 + k[channel])
        for side in range(2):
            middle, half = 0.5 * (bounds[side + 1] + bounds[side]), 0.5 * (bounds[side + 1] - bounds[side])
            for step in range(_STEPS + 1):
                at = middle - half * np.cos(np.pi * step / _STEPS)
                table[side, step + 1] = _hidden(at, k[channel], weight[channel], power[channel]) / disc
            table[side, 0], table[side, _STEPS + 2] = table[side, 2], table[side, _STEPS]  # even about both ends
        for sample in range(samples):
            for part in range(parts):
                distance = z[sample, part]
                if distance >= bounds[2]:
                    continue
                side = 0 if distance < contact else 1
                middle, half = 0.5 * (bounds[side + 1] + bounds[side]), 0.5 * (bounds[side + 1] - bounds[side])
                angle = np.arccos(min(1.0, max(-1.0, (middle - distance) / half)))
                position = angle * _STEPS / np.pi
                first = min(_STEPS - 1, int(position))
                x = position - first
                y0, y1, y2, y3 = table[side, first], table[side, first + 1], table[side, first + 2], table[side, first + 3]
                hidden = y1 * (1 - x * x) * (2 - x) / 2 + y2 * x * (1 + x) * (2 - x) / 2
                hidden += (x * x - 1) * x * y3 / 6 - x * (x - 1) * (x - 2) * y0 / 6
                flux[channel, sample] -= hidden / parts
