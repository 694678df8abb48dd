"""Flux, and its derivatives, of a quadratically limb-darkened star occulted by a dark disc.

With μ = sqrt(1 − r²) the intensity is I = 1 − u1 (1 − μ) − u2 (1 − μ)², so the occulted flux is a sum of three moments
Dₙ = ∬ μⁿ dA, n = 0, 1, 2, over the overlap of planet and star (Mandel & Agol 2002, ApJ 580, L171). The moments are
Gauss–Legendre integrals over the stellar radius in the variable that removes the square roots at both ends; their
derivatives are integrals along the planet's limb. Independent of orbits, instruments and noise.
"""

import numpy as np

from ariel_lib.execution.compilation import compiled


def _nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """cos θ and weight · sin θ of n Gauss–Legendre nodes θ in (0, π), for x = middle − half · cos θ."""
    roots, weights = np.polynomial.legendre.leggauss(n)
    angle = 0.5 * np.pi * (roots + 1)
    return np.cos(angle), 0.5 * np.pi * weights * np.sin(angle)


_COS, _SIN_WEIGHT = _nodes(14)  # flux: 0.1 ppm from batman at worst, at k = 0.3; 0.03 ppm below k = 0.2
_LIMB_COS, _LIMB_WEIGHT = _nodes(8)  # derivatives are used for Gauss–Newton steps only: 1e-4 relative suffices


@compiled(fastmath=False)
def _moments(z: float, k: float, out: np.ndarray) -> None:
    """Fill out[0:3] with Dₙ, for a disc of radius k at distance z."""
    out[:3] = 0.0
    if z >= 1.0 + k or k <= 0.0:
        return
    inner = abs(z - k)
    outer = min(1.0, z + k)
    if k > z:  # the disc covers the centre: rings inside k − z are fully occulted
        covered = min(1.0, k - z)
        mu = np.sqrt(1.0 - covered * covered)
        out[0] = np.pi * covered * covered
        out[1] = 2.0 * np.pi / 3.0 * (1.0 - mu * mu * mu)
        out[2] = 0.5 * np.pi * (1.0 - mu**4)
    if outer > inner:
        middle, half = 0.5 * (outer + inner), 0.5 * (outer - inner)
        for node in range(_COS.size):
            r = middle - half * _COS[node]
            cosine = (r * r + z * z - k * k) / (2.0 * r * z)
            hidden = 2.0 * np.arccos(min(1.0, max(-1.0, cosine))) * r * half * _SIN_WEIGHT[node]
            mu2 = 1.0 - r * r
            out[0] += hidden
            out[1] += hidden * np.sqrt(mu2)
            out[2] += hidden * mu2


@compiled(fastmath=False)
def _slopes(z: float, k: float, out: np.ndarray) -> None:
    """Fill out[3:6] with ∂Dₙ/∂k, out[6:9] with ∂Dₙ/∂z, for a disc of radius k at distance z < 1 + k."""
    out[3:] = 0.0
    # The planet's limb at angle α from the outward direction lies at r² = z² + k² + 2 z k cos α.
    first = 0.0
    if z + k > 1.0:
        first = np.arccos(min(1.0, max(-1.0, (1.0 - z * z - k * k) / (2.0 * z * k))))
    middle, half = 0.5 * (np.pi + first), 0.5 * (np.pi - first)
    for node in range(_LIMB_COS.size):
        cosine = np.cos(middle - half * _LIMB_COS[node])
        length = 2.0 * k * half * _LIMB_WEIGHT[node]
        mu2 = max(0.0, 1.0 - z * z - k * k - 2.0 * z * k * cosine)
        mu = np.sqrt(mu2)
        out[3] += length
        out[4] += length * mu
        out[5] += length * mu2
        out[6] += length * cosine
        out[7] += length * mu * cosine
        out[8] += length * mu2 * cosine


@compiled()
def _disc(u1, u2):
    """Coefficients of the intensity in 1, μ and μ², and the light of the whole disc."""
    return 1.0 - u1 - u2, u1 + 2.0 * u2, -u2, np.pi * (1.0 - u1 / 3.0 - u2 / 6.0)


@compiled()
def _flux(z, dz, k, u1, u2, flux, d_k, d_u, d_orbit):
    """Accumulate transit_flux in place; shapes as there."""
    samples, parts = z.shape
    moments = np.empty(9)
    for channel in range(k.size):
        c0, c1, c2, norm = _disc(u1[channel], u2[channel])
        for sample in range(samples):
            for part in range(parts):
                distance = z[sample, part]
                if distance >= 1.0 + k[channel]:
                    continue
                _moments(distance, k[channel], moments)
                _slopes(distance, k[channel], moments)
                hidden = (c0 * moments[0] + c1 * moments[1] + c2 * moments[2]) / norm
                slope = -(c0 * moments[6] + c1 * moments[7] + c2 * moments[8]) / norm / parts
                flux[channel, sample] -= hidden / parts
                d_k[channel, sample] -= (c0 * moments[3] + c1 * moments[4] + c2 * moments[5]) / norm / parts
                d_u[channel, 0, sample] += (moments[0] - moments[1] - hidden * np.pi / 3.0) / norm / parts
                d_u[channel, 1, sample] += (
                    (moments[0] - 2.0 * moments[1] + moments[2] - hidden * np.pi / 6.0) / norm / parts
                )
                for n in range(dz.shape[2]):
                    d_orbit[channel, n, sample] += slope * dz[sample, part, n]


@compiled(nogil=True)
def _light(z, k, u1, u2, flux):
    """Accumulate relative_flux in place; shapes as there."""
    samples, parts = z.shape
    moments = np.empty(3)
    for channel in range(k.size):
        c0, c1, c2, norm = _disc(u1[channel], u2[channel])
        for sample in range(samples):
            for part in range(parts):
                if z[sample, part] < 1.0 + k[channel]:
                    _moments(z[sample, part], k[channel], moments)
                    hidden = (c0 * moments[0] + c1 * moments[1] + c2 * moments[2]) / norm
                    flux[channel, sample] -= hidden / parts


def relative_flux(z: np.ndarray, k: np.ndarray, u1: np.ndarray, u2: np.ndarray) -> np.ndarray:
    """The flux of transit_flux alone, (wavelength, time), without the cost of its derivatives; arguments as there."""
    z, k, u1, u2 = (np.ascontiguousarray(x, dtype=float) for x in (z, k, u1, u2))
    flux = np.ones((k.size, z.shape[0]))
    _light(z, k, u1, u2, flux)
    return flux


def transit_flux(z: np.ndarray, k: np.ndarray, u1: np.ndarray, u2: np.ndarray, dz: np.ndarray | None = None):
    """Flux relative to the unocculted star and its derivatives, averaged over the parts of each exposure.

    z        (time, part)          distance of the centres in stellar radii
    k        (wavelength,)         radius ratio Rp/Rs
    u1, u2   (wavelength,)         quadratic limb darkening
    dz       (time, part, orbit)   ∂z/∂(orbit parameters), optional

    Returns flux and ∂flux/∂k (wavelength, time), ∂flux/∂(u1, u2) (wavelength, 2, time), ∂flux/∂orbit (wavelength, orbit, time).
    Agrees with batman to 0.1 ppm or better for k 0.03–0.3 (tests/transit/test_occultation.py).
    """
    k, u1, u2 = (np.ascontiguousarray(np.atleast_1d(x), dtype=float) for x in (k, u1, u2))
    if dz is None:
        dz = np.zeros((*z.shape, 0))
    shape = (k.size, z.shape[0])
    flux, d_k = np.ones(shape), np.zeros(shape)
    d_u, d_orbit = np.zeros((k.size, 2, z.shape[0])), np.zeros((k.size, dz.shape[2], z.shape[0]))
    _flux(
        np.ascontiguousarray(z, dtype=float), np.ascontiguousarray(dz, dtype=float), k, u1, u2, flux, d_k, d_u, d_orbit
    )
    return flux, d_k, d_u, d_orbit
