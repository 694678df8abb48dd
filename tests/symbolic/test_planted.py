"""Injected defects of several sizes in the challenge's labels of both years (where ../shared/data is) and in simulated spectra.

The thresholds were chosen on the labels of 2025; those of 2024 and the simulated spectra are independent of them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.simulator.spectrum import transmission_spectrum
from ariel_lib.symbolic.context import make_context
from ariel_lib.symbolic.rules import RULES, find_violations

DATA = Path(__file__).parents[2] / "../shared/data"
WAVELENGTH = spectrum_wavelengths()
SIGMA = 2e-5


def labels(file):
    if not (DATA / file).is_file():
        pytest.skip("needs ../shared/data")
    return np.genfromtxt(DATA / file, delimiter=",", skip_header=1)[:, 1:]


def simulated():
    rng = np.random.default_rng(31)
    return np.array([
        transmission_spectrum(
            WAVELENGTH, rng.uniform(0.08, 0.15), 10 ** rng.uniform(-4.3, -3.5),
            {m: 10 ** rng.uniform(-7, -3) for m in ("H2O", "CH4", "CO2", "CO", "NH3")},
            10 ** rng.uniform(0, 2), 10 ** rng.uniform(-27, -25),
        )
        for _ in range(60)
    ])  # fmt: skip


SPECTRA = {
    "2025": lambda: labels("adc2025/train.csv"), "2024": lambda: labels("adc2024/train_labels.csv"), "simulated": simulated,
}  # fmt: skip


@pytest.fixture(scope="module", params=SPECTRA)
def spectra(request):
    """Noisy spectra (planet, wavelength) that violate no rule, at most 60."""
    mu = SPECTRA[request.param]()
    mu = mu + 0.5 * SIGMA * np.random.default_rng(1).standard_normal(mu.shape)
    mu = mu[(mu > 3e-4).all(axis=1)]
    violating = np.any([flags.any(axis=1) for flags in flags_of(mu).values()], axis=0)
    assert violating.mean() < 0.01
    return mu[~violating][:60]


def context_of(mu):
    mu = torch.from_numpy(mu)
    return make_context(mu, torch.full_like(mu, SIGMA), torch.from_numpy(WAVELENGTH))


def flags_of(mu):
    return {name: v.flagged.numpy() for name, v in find_violations(torch.from_numpy(mu), context_of(mu)).items()}


def ripple(period, bins):
    where = np.arange(*bins)
    return where, np.sin(2 * np.pi * where / period)


def band(centre, width, sign):
    profile = np.exp(-0.5 * ((WAVELENGTH - centre) / width) ** 2)
    where = np.flatnonzero(profile > 0.01)
    return where, sign * profile[where]


DEFECTS = {
    "ripple of 2.7 bins": ("resolution", ripple(2.7, (100, 160)), (2, 6)),
    "ripple of 3.5 bins": ("resolution", ripple(3.5, (30, 90)), (2, 6)),
    "ripple of 2.2 bins everywhere": ("resolution", ripple(2.2, (1, 283)), (2, 6)),
    "FGS1 above AIRS": ("smoothness", (np.array([0]), 1), (1.5, 5)),
    "FGS1 below AIRS": ("smoothness", (np.array([0]), -1), (1.5, 5)),
    "missing band at 3.62": ("molecular_bands", band(3.62, 0.05, -1), (2, 5)),
    "band at 3.62": ("molecular_bands", band(3.62, 0.05, 1), (2, 5)),
    "missing band at 2.2": ("molecular_bands", band(2.2, 0.03, -1), (2, 5)),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_flagged_by_its_rule_only_at_its_planet_and_bins(spectra, defect):
    rule, (bins, shape), sizes = DEFECTS[defect]
    margin = 4 if rule == "resolution" else 0  # the filter rings over a resolution element at a sharp edge
    limit = (RULES[rule].limit * RULES[rule].scale(context_of(spectra))).numpy()
    tested = 0
    for size in sizes:
        mu, injected = spectra.copy(), np.arange(1, len(spectra), 4)
        for planet in injected:
            mu[planet, bins] += size * limit[planet, bins] * shape
        injected = injected[(mu[injected] > 0).all(axis=1)]
        untouched = np.setdiff1d(np.arange(len(mu)), np.arange(1, len(spectra), 4))
        flagged = flags_of(mu)
        assert not any(flags[untouched].any() for flags in flagged.values())
        for name, flags in flagged.items():
            near = np.arange(max(bins[0] - margin, 0), min(bins[-1] + margin + 1, 283))
            outside = np.delete(flags[injected], near, axis=1) if name == rule else flags[injected]
            assert not outside.any(), name
        tested += len(injected)
        assert flagged[rule][injected].any(axis=1).all()
    assert tested


@pytest.mark.parametrize("place", [0, 1, 150, 282])
@pytest.mark.parametrize("depth", [1e-9, 1e-4, 1e-2])
def test_a_negative_bin_is_flagged_by_the_nonnegativity_rule_only(spectra, place, depth):
    mu = spectra.copy()
    mu[::3, place] = -depth
    flagged = flags_of(mu)
    expected = np.zeros(mu.shape, bool)
    expected[::3, place] = True
    assert np.array_equal(flagged.pop("nonnegativity"), expected)
    assert not any(flags.any() for flags in flagged.values())


def test_a_resolved_ripple_violates_the_molecular_bands_only(spectra):
    """The period is above the resolution, and the amplitude large enough to increase that of the spectrum."""
    mu = spectra.copy()
    amplitude = context_of(mu).amplitude.numpy()
    mu[:, 1:] += 12 * (amplitude + SIGMA)[:, None] * np.sin(2 * np.pi * np.arange(282) / 20)
    flagged = flags_of(mu[(mu > 0).all(axis=1)])
    assert flagged["molecular_bands"].any(axis=1).mean() > 0.95
    assert not any(flags.any() for name, flags in flagged.items() if name != "molecular_bands")
