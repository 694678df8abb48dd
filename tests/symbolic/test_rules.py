"""Planted faults are found by their own rule, at their planet and bins, and by no other; penalties have true gradients."""

import numpy as np
import pytest
import torch

from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.simulator.spectrum import transmission_spectrum
from ariel_lib.symbolic.context import high_pass_matrix, low_pass, make_context
from ariel_lib.symbolic.molecular_bands import molecule_shares
from ariel_lib.symbolic.nonnegativity import fill_negative
from ariel_lib.symbolic.rules import RULES, find_violations, penalty, penalty_gradient, total_penalty

WAVELENGTH = spectrum_wavelengths()
PLANET = 7


def draw_spectra(seed=0, planets=20, noise=5e-6):
    """Spectra of molecules in a cloudy atmosphere, 20 to 200 ppm of features, with noise below the stated sigma."""
    rng = np.random.default_rng(seed)
    rows = [
        transmission_spectrum(
            WAVELENGTH, rng.uniform(0.07, 0.15), 10 ** rng.uniform(-4.3, -3.5),
            {m: 10 ** rng.uniform(-7, -3) for m in ("H2O", "CH4", "CO2", "CO", "NH3")},
            10 ** rng.uniform(0, 2), 10 ** rng.uniform(-27, -25),
        )
        for _ in range(planets)
    ]  # fmt: skip
    mu = np.array(rows) + noise * rng.standard_normal((planets, len(WAVELENGTH)))
    return torch.from_numpy(mu), torch.full((planets, len(WAVELENGTH)), 1e-5, dtype=torch.float64)


def judge(mu, sigma, bump_depth_bias=None):
    return find_violations(mu, make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias))


def amplitude_of(mu):
    return float(make_context(mu, torch.full_like(mu, 1e-5), torch.from_numpy(WAVELENGTH)).amplitude[PLANET])


def plant_ripple(row, amplitude):
    bins = np.arange(100, 160)
    row[bins] += 15 * (amplitude + 1e-5) * torch.from_numpy(np.hanning(60) * np.sin(2 * np.pi * bins / 2.7))
    return bins


def plant_negative(row, amplitude):
    row[200] = -5e-5
    return np.array([200])


def plant_jump(row, amplitude):
    row[0] += 40 * (amplitude + 2e-5)
    return np.array([0])


def plant_band(row, amplitude):
    profile = np.exp(-0.5 * ((WAVELENGTH - 3.62) / 0.05) ** 2)
    row -= 15 * (amplitude + 2e-5) * torch.from_numpy(profile)
    return np.flatnonzero(profile > 0.05)


@pytest.mark.parametrize(
    ("rule", "plant"), [("resolution", plant_ripple), ("nonnegativity", plant_negative), ("smoothness", plant_jump), ("molecular_bands", plant_band)]
)
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_fault_is_found_by_its_rule_alone(rule, plant, seed):
    mu, sigma = draw_spectra(seed)
    bins = plant(mu[PLANET], amplitude_of(mu))
    found = judge(mu, sigma)
    flagged = {name: np.argwhere(v.flagged.numpy()) for name, v in found.items()}
    assert {name for name, places in flagged.items() if len(places)} == {rule}
    assert set(flagged[rule][:, 0]) == {PLANET}
    assert set(flagged[rule][:, 1]) <= set(bins)
    strongest = found[rule].sigmas[PLANET].abs().argmax().item()
    assert strongest in bins


def test_spectra_of_molecules_break_no_rule():
    found = judge(*draw_spectra(11, planets=300))
    assert sum(int(v.flagged.any(dim=1).sum()) for v in found.values()) == 0


def test_a_spectrum_that_follows_a_bump_breaks_the_guards_rule_only():
    mu, sigma = draw_spectra()
    bump_depth_bias = torch.zeros_like(mu)
    bump_depth_bias[PLANET] = 1e-4
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias)
    found = find_violations(mu + bump_depth_bias, context)
    assert found["lensing_bump"].flagged.any(dim=1).nonzero().flatten().tolist() == [PLANET]
    assert found["lensing_bump"].ppm[PLANET] == pytest.approx(np.full(283, 100.0))
    assert not find_violations(mu, context)["lensing_bump"].flagged.any()


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_is_the_penaltys_own(name):
    mu, sigma = draw_spectra(3, planets=2)
    bump_depth_bias = torch.full_like(mu, 2e-5)
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias)
    moved = mu + 1e-5 * torch.from_numpy(np.random.default_rng(0).standard_normal(mu.shape))
    moved[0, 40] = -1e-4
    gradient = penalty_gradient(name, moved, context)
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal(mu.shape))
    step = 1e-8 * direction
    numeric = (penalty(name, moved + step, context) - penalty(name, moved - step, context)) / 2e-8
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-4)
    assert gradient.abs().max() > 0


def test_following_the_gradient_mends_a_ripple():
    mu, sigma = draw_spectra()
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH))
    rippled = mu.clone()
    plant_ripple(rippled[PLANET], 1e-4)
    gradient = penalty_gradient("resolution", rippled, context)
    assert gradient[PLANET].abs().max() > 100 * gradient[PLANET - 1].abs().max()
    assert penalty("resolution", rippled - 1e-9 * gradient / gradient.abs().max(), context) < penalty("resolution", rippled, context)


def test_smoothness_is_relative_to_the_planets_own_amplitude():
    mu, sigma = draw_spectra(noise=0.0)
    mu, tiny = low_pass(mu), torch.full_like(sigma, 1e-9)
    white = mu[:, 1:].mean(dim=1, keepdim=True)
    scaled = white + 100 * (mu - white)
    rule, relative = RULES["smoothness"], []
    for spectra in (mu, scaled):
        context = make_context(spectra, tiny, torch.from_numpy(WAVELENGTH))
        relative.append(rule.deviation(spectra, context) / rule.scale(context))
    small, large = relative
    assert large[:, 1:] == pytest.approx(small[:, 1:], rel=1e-2, abs=1e-3)


def test_weights_add_and_zero_weights_cost_nothing():
    mu, sigma = draw_spectra()
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH))
    both = total_penalty(mu, context, {"resolution": 2.0, "molecular_bands": 0.5, "nonnegativity": 0.0})
    assert float(both) == pytest.approx(float(2 * penalty("resolution", mu, context) + 0.5 * penalty("molecular_bands", mu, context)))
    assert float(total_penalty(mu, context, {"resolution": 0.0})) == 0


def test_the_molecule_that_made_a_spectrum_explains_it():
    for molecule in ("H2O", "CH4", "CO2", "NH3"):
        depth = transmission_spectrum(WAVELENGTH, 0.1, 1e-4, {molecule: 1e-3}, 1.0, 1e-27)[None]
        mu = torch.from_numpy(depth)
        context = make_context(mu, torch.full_like(mu, 1e-5), torch.from_numpy(WAVELENGTH))
        shares = {name: float(share) for name, share in molecule_shares(mu, context).items()}
        assert shares.pop("rest") < 0.05
        assert max(shares, key=shares.get) == molecule


def test_high_pass_is_a_projection_that_keeps_slopes_out():
    matrix = high_pass_matrix(282)
    assert matrix @ matrix == pytest.approx(matrix.numpy(), abs=1e-12)
    ramp = torch.linspace(0, 1, 282, dtype=torch.float64)
    assert (matrix @ ramp).abs().max() < 2e-3


def test_negative_bins_are_filled_from_their_neighbours():
    mu = torch.tensor([[1.0, 2.0, -1.0, -5.0, 5.0, -3.0], [-1.0, 2.0, 1.0, 1.0, 1.0, 1.0], [1.0, -1.0, -1.0, -2.0, -1.0, -1.0]])
    filled = fill_negative(mu)
    assert filled[0].tolist() == pytest.approx([1, 2, 3, 4, 5, 5])
    assert filled[1].tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert filled[2].tolist() == mu[2].tolist()


def test_bad_shapes_are_one_sentence():
    with pytest.raises(ValueError, match="wavelength"):
        make_context(torch.ones(2, 5), torch.ones(2, 5), torch.ones(4))
