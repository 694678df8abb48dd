"""Causes in the telescope and its detectors: polynomial drift, ramp, thermal cycle, persistence, gain, pointing.

The thermal cycle and the pointing are common to both instruments; ramps, persistence and gain belong to one detector.
Each function draws one visit: (target, times, wavelength (wavelength,) micron, rng) → Term. ranges.py has sizes and sources.
"""

import numpy as np

from ariel_lib.instrument import AIRS, FGS1
from ariel_lib.simulator.light_curve import draw_drift
from ariel_lib.simulator.optics import AIRS_OVER_FGS1_MOTION
from ariel_lib.simulator.star import planck_photons
from ariel_lib.simulator.systematics.ranges import draw_parameters
from ariel_lib.simulator.systematics.spectral_noise import at, draw_process
from ariel_lib.simulator.systematics.terms import PARTS, Target, Term, Times, tilted


def draw_polynomial(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """The drift of the nominal simulation: a cubic in time, with a quadratic in wavelength for AIRS (simulator.light_curve)."""
    drift = draw_drift(rng)
    x = 2 * (wavelength - wavelength[1]) / (wavelength[-1] - wavelength[1]) - 1
    visible = wavelength < 1.0
    colour = np.where(visible, drift.fgs1[:, None], drift.airs @ np.stack([np.ones_like(x), x, x**2]))
    tau = {name: 2 * time / target.length - 1 for name, time in times.items()}
    parameters = {"fgs1": drift.fgs1.tolist(), "airs": drift.airs.ravel().tolist()}
    return Term({name: np.stack([t, t**2, t**3], axis=1) for name, t in tau.items()}, colour, parameters)


def draw_ramp(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Charge traps that fill: −A e^(−t/τ) − B e^(−t/σ), or its opposite, of each detector (Agol et al. 2010, ApJ 721, 1861)."""
    drawn, time, colour = {}, {}, np.empty((1, len(wavelength)))
    for name, part in PARTS.items():
        drawn[name] = p = draw_parameters("ramp", rng)
        slow = np.exp(-times[name] / p["timescale"])
        fast = np.exp(-times[name] / (p["timescale"] * p["second_timescale"]))
        sign = 1.0 if p["falling"] < 0 else -1.0
        time[name] = (sign * p["amplitude"] * (slow + p["second_amplitude"] * fast))[:, None]
        colour[0, part] = tilted(wavelength[part], p["tilt"])
    return Term(time, colour, _flat(drawn))


def draw_thermal(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """A sinusoid of temperature seen by both instruments, one lagging behind (heater cycles, Grillmair et al. 2012, SPIE 8448)."""
    p = draw_parameters("thermal", rng)
    lag = {FGS1.name: 0.0, AIRS.name: p["lag"]}
    time = {name: np.sin(2 * np.pi * t / p["period"] + p["phase"] - lag[name])[:, None] for name, t in times.items()}
    airs_over_fgs1 = np.where(wavelength < 1.0, 1.0, p["airs_over_fgs1"])
    return Term(time, (p["amplitude"] * airs_over_fgs1 * tilted(wavelength, p["tilt"]))[None], p)


def draw_persistence(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Afterglow of the star observed before, a power law (1 + t/t₀)^−γ (Long et al. 2015, WFC3 ISR 2015-15), of each detector.

    Colour: the black body of that star over the one of this star, 1 on average over the instrument's wavelengths.
    """
    drawn, time, colour = {}, {}, np.empty((1, len(wavelength)))
    for name, part in PARTS.items():
        drawn[name] = p = draw_parameters("persistence", rng)
        ratio = planck_photons(wavelength[part], p["previous_temperature"]) / planck_photons(wavelength[part], target.star.Ts)
        time[name] = (p["amplitude"] * (1 + times[name] / p["onset"]) ** -p["exponent"])[:, None]
        colour[0, part] = ratio / ratio.mean()
    return Term(time, colour, _flat(drawn))


def draw_gain(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Gain that wanders with a power spectrum 1/f^β, without colour, in each detector (Rauscher 2015, PASP 127, 1144)."""
    p = draw_parameters("gain", rng)
    rms = {FGS1.name: p["rms"], AIRS.name: p["rms"] * p["airs_over_fgs1"]}
    time = {}
    for name in PARTS:
        walk = draw_process(rng, target.length, lambda frequency: frequency ** -p["slope"])
        time[name] = rms[name] * at(walk / walk.std(), times[name])[:, None]
    return Term(time, np.ones((1, len(wavelength))), p)


def draw_pointing(target: Target, times: Times, wavelength: np.ndarray, rng: np.random.Generator) -> Term:
    """Slow pointing with memory: an Ornstein-Uhlenbeck process (Uhlenbeck & Ornstein 1930, Phys. Rev. 36, 823) on each axis.

    Both images move together, and the light of each wavelength follows its pixels' flat field: a slope common to the instrument
    and one of its own. Losses of the aperture are not part of it: the images' derivatives and the extraction give them.
    """
    p = draw_parameters("pointing", rng)
    rate = 2 * np.pi * p["memory"]
    walks = [draw_process(rng, target.length, lambda nu: 4 * p["memory"] / (1 + (rate * nu) ** 2)) for _ in range(2)]
    motion = {name: p["rms"] * np.stack([at(walk, t) for walk in walks], axis=1) for name, t in times.items()}
    airs_motion = np.where(wavelength < 1.0, 1.0, AIRS_OVER_FGS1_MOTION)
    second = draw_parameters("pointing", rng)  # its responses are those of the second axis
    slopes = {name: [p[name], second[name]] for name in ("fgs1_response", "airs_response")}
    common = np.where(wavelength < 1.0, *(np.array(both)[:, None] for both in slopes.values()))
    own = np.where(wavelength < 1.0, 0.0, rng.normal(0, p["pixel_response"], (2, len(wavelength))))
    pointing = {FGS1.name: motion[FGS1.name], AIRS.name: AIRS_OVER_FGS1_MOTION * motion[AIRS.name]}
    return Term(motion, (common + own) * airs_motion, p | slopes, pointing)


def _flat(drawn: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """Parameters of both detectors, FGS1 first, by name."""
    return {name: [drawn[instrument][name] for instrument in PARTS] for name in drawn[FGS1.name]}
