"""Causes in the star: granulation with oscillations, rotation, spots that the planet crosses.

Both instruments see the same realisation, each in its own colour. Each function draws one visit: (target, times, wavelength
(wavelength,) micron, rng) → Term. ranges.py has sizes and sources.
"""

import numpy as np

from ariel_lib.io.layout import Star
from ariel_lib.simulator.systematics.ranges import draw_parameters
from ariel_lib.simulator.systematics.spectral_noise import at, draw_process
from ariel_lib.simulator.systematics.terms import Target, Term, Times, contrast, temperature_colour

NU_MAX_SUN, TEMPERATURE_SUN = 3090.0, 5777.0  # microhertz, K
RADIAL_AMPLITUDE = 2.5e-6  # bolometric rms of one radial mode of the Sun (Michel et al. 2009, A&A 495, 979)
MODES_A_LARGE_SPACING = 3.0  # power of all degrees in units of a radial mode's (Kjeldsen et al. 2008, ApJ 682, 1370)
LARGE_SPACING_SUN = 135.0  # microhertz
_MICROHERTZ = 3600e-6  # 1/h


def peak_frequency(star: Star) -> float:
    """Frequency of largest oscillation power ν_max ∝ g T^−1/2, microhertz (Kjeldsen & Bedding 1995, A&A 293, 87)."""
    return NU_MAX_SUN * star.Ms / star.Rs**2 * (star.Ts / TEMPERATURE_SUN) ** -0.5


def granulation_power(frequency: np.ndarray, nu_max: float) -> np.ndarray:
    """Spectral density of granulation in total light, 1/microhertz, (frequency,): two Harvey profiles with exponent 4.

    Harvey 1985 (ESA SP-235, 199); amplitudes and frequencies of Kallinger et al. 2014 (A&A 570, A41, table 2). The integral is
    the variance 2 a². frequency, nu_max microhertz.
    """
    rms = 3382e-6 * nu_max**-0.609
    corners = 0.317 * nu_max**0.970, 0.948 * nu_max**0.992
    return sum(2 * np.sqrt(2) / np.pi * rms**2 / corner / (1 + (frequency / corner) ** 4) for corner in corners)


def oscillation_power(frequency: np.ndarray, nu_max: float, luminosity_over_mass: float, temperature: float) -> np.ndarray:
    """Spectral density of p-modes in total light, 1/microhertz, (frequency,): a Gaussian envelope about ν_max.

    Amplitude ∝ L/M T^−2 (Kjeldsen & Bedding 1995), width 0.66 ν_max^0.88 (Mosser et al. 2012, A&A 537, A30). frequency, nu_max
    microhertz; luminosity_over_mass solar; temperature K.
    """
    amplitude = RADIAL_AMPLITUDE * luminosity_over_mass * (temperature / TEMPERATURE_SUN) ** -2
    spacing = LARGE_SPACING_SUN * (nu_max / NU_MAX_SUN) ** 0.77
    sigma = 0.66 * nu_max**0.88 / np.sqrt(8 * np.log(2))
    height = MODES_A_LARGE_SPACING * amplitude**2 / spacing
    return height * np.exp(-0.5 * ((frequency - nu_max) / sigma) ** 2)


def draw_granulation(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Granulation and p-modes, fluctuations of the photosphere's temperature: they fall to the infrared as a black body's do."""
    p, star = draw_parameters("granulation", rng), target.star
    nu_max = peak_frequency(star)
    brightness = star.Rs**2 * (star.Ts / TEMPERATURE_SUN) ** 4 / star.Ms

    def power(frequency: np.ndarray) -> np.ndarray:
        nu = frequency / _MICROHERTZ
        modes = oscillation_power(nu, nu_max, brightness, star.Ts)
        return (p["scale"] ** 2 * granulation_power(nu, nu_max) + p["oscillation_scale"] ** 2 * modes) / _MICROHERTZ

    light = draw_process(rng, target.length, power)
    colour = temperature_colour(wavelength, star.Ts)[None]
    return Term({name: at(light, time)[:, None] for name, time in times.items()}, colour, p | {"nu_max": nu_max})


def draw_rotation(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Spots that the star's rotation carries across the disc: a sinusoid of days and its harmonic (McQuillan et al. 2014, ApJS 211, 24)."""
    p = draw_parameters("rotation", rng)
    spot = (1 - p["spot_deficit"]) * target.star.Ts
    dark = contrast(wavelength, spot, target.star.Ts)
    time = {}
    for name, t in times.items():
        angle = 2 * np.pi * t / (24 * p["period"])
        wave = np.sin(angle + p["phase"]) + p["harmonic"] * np.sin(2 * angle + p["harmonic_phase"])
        start = np.sin(p["phase"]) + p["harmonic"] * np.sin(p["harmonic_phase"])
        time[name] = (p["amplitude"] * (wave - start))[:, None]
    return Term(time, (dark / dark[0])[None], p)


def draw_spot_crossing(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Spots on the transit chord: while the planet hides one the star is brighter (Sanchis-Ojeda & Winn 2011, ApJ 743, 61).

    Height: contrast times the hidden area of the spot, at most the planet's; a Gaussian in time with the width of the crossing.
    """
    p = draw_parameters("spot_crossing", rng)
    spots = [draw_parameters("spot_crossing", rng) for _ in range(int(p["number"]))]
    dark = contrast(wavelength, (1 - p["spot_deficit"]) * target.star.Ts, target.star.Ts)
    k = np.sqrt(target.depth)
    bumps = {name: np.zeros(len(time)) for name, time in times.items()}
    for spot in spots:
        middle = target.mid_transit + spot["position"] * target.duration
        width = 0.5 * (k + spot["radius"]) * target.duration / (2 * (1 + k))  # half the time from contact to mid-crossing
        for name, time in times.items():
            bumps[name] += min(spot["radius"], k) ** 2 * np.exp(-0.5 * ((time - middle) / width) ** 2)
    lists = {name: [spot[name] for spot in spots] for name in ("radius", "position")}
    kept = lists | {"spot_deficit": p["spot_deficit"]}
    return Term({name: bump[:, None] for name, bump in bumps.items()}, dark[None], kept)
