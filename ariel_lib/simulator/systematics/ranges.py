"""Families of systematics, and the one table of the ranges from which their parameters are drawn, with unit and source."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Range:
    """Limits of a parameter, its unit and their source. logarithmic: drawn uniformly in the logarithm, else in the value."""

    low: float
    high: float
    unit: str
    source: str
    logarithmic: bool = True

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a value."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** rng.random())
        return float(rng.uniform(self.low, self.high))


_CHOSEN = "chosen here"
_BERDYUGINA = "Berdyugina 2005, Living Rev. Sol. Phys. 2, 8"
_RACKHAM = "Rackham et al. 2019, AJ 157, 96 (F to K stars)"

RANGES: dict[str, dict[str, Range]] = {
    "polynomial": {},  # simulator.light_curve: DRIFT_SIZE and DRIFT_COLOUR
    "ramp": {
        "amplitude": Range(1e-4, 1e-3, "relative flux", "Agol et al. 2010, ApJ 721, 1861 (8 micron); Berta et al. 2012, ApJ 747, 35"),
        "timescale": Range(0.2, 2.0, "h", "Agol et al. 2010: ramps of minutes and of hours"),
        "second_amplitude": Range(0.0, 0.5, "of the amplitude", "Agol et al. 2010: two exponentials", logarithmic=False),
        "second_timescale": Range(0.1, 0.4, "of the timescale", "Agol et al. 2010"),
        "falling": Range(-0.25, 0.75, "falls if negative", _CHOSEN, logarithmic=False),
        "tilt": Range(-0.3, 0.3, "per half band of AIRS", _CHOSEN, logarithmic=False),
    },
    "thermal": {
        "amplitude": Range(3e-5, 4e-4, "relative flux, FGS1", "Grillmair et al. 2012, SPIE 8448: heater cycles of Spitzer"),
        "period": Range(1.0, 8.0, "h", "Grillmair et al. 2012 (40 min), slower bus cycles"),
        "phase": Range(0.0, 2 * np.pi, "rad", _CHOSEN, logarithmic=False),
        "lag": Range(-0.8, 0.8, "rad, AIRS after FGS1", _CHOSEN, logarithmic=False),
        "airs_over_fgs1": Range(0.3, 2.0, "", _CHOSEN),
        "tilt": Range(-0.5, 0.5, "per half band of AIRS", _CHOSEN, logarithmic=False),
    },
    "persistence": {
        "amplitude": Range(1e-4, 1e-3, "relative flux at the start, in white light", "Long et al. 2015, WFC3 ISR 2015-15"),
        "onset": Range(0.1, 1.0, "h", "Long et al. 2015: power laws from minutes to hours"),
        "exponent": Range(0.7, 1.4, "", "Long et al. 2015", logarithmic=False),
        "previous_temperature": Range(3500.0, 7500.0, "K, star observed before", _CHOSEN, logarithmic=False),
    },
    "gain": {
        "rms": Range(2e-5, 1.5e-4, "relative, over the visit", _CHOSEN),
        "slope": Range(1.0, 2.0, "exponent of 1/f", "Rauscher 2015, PASP 127, 1144: 1/f noise of HxRG electronics", logarithmic=False),
        "airs_over_fgs1": Range(0.5, 2.0, "", _CHOSEN),
    },
    "pointing": {
        "rms": Range(0.03, 0.2, "FGS1 pixel, each axis", "jitter of planet 342072318: 0.11"),
        "memory": Range(0.1, 2.0, "h, of the Ornstein-Uhlenbeck process", "Uhlenbeck & Ornstein 1930, Phys. Rev. 36, 823"),
        "fgs1_response": Range(-0.015, 0.015, "relative flux / pixel, each axis", "planet 342072318: 0.006, 0.026", logarithmic=False),
        "airs_response": Range(-0.01, 0.01, "relative flux / pixel, each axis", _CHOSEN, logarithmic=False),
        "pixel_response": Range(5e-4, 5e-3, "rms between wavelengths, relative flux / pixel", "flat field of that planet: 0.012"),
    },
    "granulation": {
        "scale": Range(0.5, 2.0, "of the scaling relation's rms", "scatter in Kallinger et al. 2014, A&A 570, A41"),
        "oscillation_scale": Range(0.5, 1.5, "of the scaling relation's amplitude", "Kjeldsen & Bedding 1995, A&A 293, 87"),
    },
    "rotation": {
        "amplitude": Range(3e-4, 5e-3, "half range of FGS1's flux", "McQuillan et al. 2014, ApJS 211, 24"),
        "period": Range(3.0, 30.0, "d", "McQuillan et al. 2014"),
        "phase": Range(0.0, 2 * np.pi, "rad", _CHOSEN, logarithmic=False),
        "harmonic": Range(0.1, 0.7, "of the amplitude, at half the period", "McQuillan et al. 2014", logarithmic=False),
        "harmonic_phase": Range(0.0, 2 * np.pi, "rad", _CHOSEN, logarithmic=False),
        "spot_deficit": Range(0.08, 0.30, "of the photosphere's temperature", _BERDYUGINA, logarithmic=False),
    },
    "spot_crossing": {
        "number": Range(1.0, 4.0, "rounded down", "Sanchis-Ojeda & Winn 2011, ApJ 743, 61", logarithmic=False),
        "radius": Range(0.02, 0.10, "stellar radii", "Sanchis-Ojeda & Winn 2011"),
        "position": Range(-0.35, 0.35, "of the transit's duration, from its middle", _CHOSEN, logarithmic=False),
        "spot_deficit": Range(0.08, 0.30, "of the photosphere's temperature", _BERDYUGINA, logarithmic=False),
    },
    "unocculted_spots": {
        "spot_coverage": Range(1e-3, 0.03, "of the disc", _RACKHAM),
        "spot_deficit": Range(0.08, 0.30, "of the photosphere's temperature", _BERDYUGINA, logarithmic=False),
        "facula_coverage": Range(5e-3, 0.15, "of the disc", _RACKHAM),
        "facula_excess": Range(60.0, 150.0, "K", _RACKHAM, logarithmic=False),
    },
    "limb_darkening": {
        "law": Range(0.0, 2.0, "below 1: power-2, else four parameters", "Hestroffer 1997; Claret 2000", logarithmic=False),
        "hopf": Range(0.577, 0.710, "optical depth", "Mihalas 1978, Stellar Atmospheres, ch. 3: 0.577 to 0.710", logarithmic=False),
        "visible_opacity": Range(0.8, 1.2, "of the Rosseland mean, FGS1", "Mihalas 1978, ch. 4: H- bound-free", logarithmic=False),
        "infrared_opacity": Range(0.6, 1.0, "of the Rosseland mean, at 2 micron", "Mihalas 1978, ch. 4: H- free-free", logarithmic=False),
    },
    "catalogue": {
        "inclination_sigma": Range(0.2, 0.5, "degree", "errors up to half a degree in the challenge's star table"),
        "sma_sigma": Range(0.01, 0.06, "relative", _CHOSEN),
        "period_sigma": Range(1e-4, 1e-2, "relative", _CHOSEN),
    },
}
FAMILIES = tuple(RANGES)
# Probability of each family in a planet of `mixed`.
SHARES = dict.fromkeys(FAMILIES, 0.4) | {"polynomial": 0.6, "granulation": 0.8, "rotation": 0.3, "spot_crossing": 0.2}


def draw_parameters(family: str, rng: np.random.Generator) -> dict[str, float]:
    """Draw every parameter of a family, by name."""
    return {name: limits.draw(rng) for name, limits in RANGES[family].items()}
