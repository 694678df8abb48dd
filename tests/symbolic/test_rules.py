"""Physical rules: injected defects are flagged by their own rule only; gradients of the penalties are correct."""

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
    """Spectra of molecules in a cloudy atmosphere with features of 20 to 200 ppm, and noise below the stated sigma."""
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


def violations_of(mu, sigma, bump_depth_bias=None):
    return find_violations(mu, make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias))


def amplitude_of(mu):
    return float(make_context(mu, torch.full_like(mu, 1e-5), torch.from_numpy(WAVELENGTH)).amplitude[PLANET])


def inject_ripple(row, amplitude):
    bins = np.arange(100, 160)
    row[bins] += 15 * (amplitude + 1e-5) * torch.from_numpy(np.hanning(60) * np.sin(2 * np.pi * bins / 2.7))
    return bins


def inject_negative(row, amplitude):
    row[200] = -5e-5
    return np.array([200])


def inject_step(row, amplitude):
    row[0] += 40 * (amplitude + 2e-5)
    return np.array([0])


def inject_band(row, amplitude):
    profile = np.exp(-0.5 * ((WAVELENGTH - 3.62) / 0.05) ** 2)
    row -= 15 * (amplitude + 2e-5) * torch.from_numpy(profile)
    return np.flatnonzero(profile > 0.05)


@pytest.mark.parametrize(
    ("rule", "inject"),
    [("resolution", inject_ripple), ("nonnegativity", inject_negative), ("smoothness", inject_step), ("molecular_bands", inject_band)],
)
@pytest.mark.parametrize("seed", range(5))
def test_an_injected_defect_is_flagged_by_its_rule_only(rule, inject, seed):
    mu, sigma = draw_spectra(seed)
    bins = inject(mu[PLANET], amplitude_of(mu))
    found = violations_of(mu, sigma)
    flagged = {name: np.argwhere(v.flagged.numpy()) for name, v in found.items()}
    assert {name for name, places in flagged.items() if len(places)} == {rule}
    assert set(flagged[rule][:, 0]) == {PLANET}
    assert set(flagged[rule][:, 1]) <= set(bins)
    strongest = found[rule].sigmas[PLANET].abs().argmax().item()
    assert strongest in bins


def test_molecular_spectra_violate_no_rule():
    found = violations_of(*draw_spectra(11, planets=300))
    assert sum(int(v.flagged.any(dim=1).sum()) for v in found.values()) == 0


def test_a_spectrum_with_the_depth_bias_of_a_bump_violates_the_lensing_rule():
    mu, sigma = draw_spectra()
    bump_depth_bias = torch.zeros_like(mu)
    bump_depth_bias[PLANET] = 1e-4
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias)
    found = find_violations(mu + bump_depth_bias, context)
    assert found["lensing_bump"].flagged.any(dim=1).nonzero().flatten().tolist() == [PLANET]
    assert found["lensing_bump"].ppm[PLANET] == pytest.approx(np.full(283, 100.0))
    assert not find_violations(mu, context)["lensing_bump"].flagged.any()


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_equals_finite_differences_of_the_penalty(name):
    mu, sigma = draw_spectra(3, planets=2)
    bump_depth_bias = torch.full_like(mu, 2e-5)
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH), bump_depth_bias)
    moved = mu + 1e-5 * torch.from_numpy(np.random.default_rng(0).standard_normal(mu.shape))
    moved[0, 40], moved[1, 90] = -1e-4, 2.0  # not depths: one-sided rules have no gradient at spectra that they allow
    gradient = penalty_gradient(name, moved, context)
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal(mu.shape))
    step = 1e-8 * direction
    numeric = (penalty(name, moved + step, context) - penalty(name, moved - step, context)) / 2e-8
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-4)
    assert gradient.abs().max() > 0


def test_a_gradient_step_reduces_the_penalty_of_a_ripple():
    mu, sigma = draw_spectra()
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH))
    rippled = mu.clone()
    inject_ripple(rippled[PLANET], 1e-4)
    gradient = penalty_gradient("resolution", rippled, context)
    assert gradient[PLANET].abs().max() > 100 * gradient[PLANET - 1].abs().max()
    assert penalty("resolution", rippled - 1e-9 * gradient / gradient.abs().max(), context) < penalty("resolution", rippled, context)


def test_smoothness_is_relative_to_the_amplitude_of_the_planet():
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


def test_the_total_penalty_is_the_weighted_sum_and_zero_for_zero_weights():
    mu, sigma = draw_spectra()
    context = make_context(mu, sigma, torch.from_numpy(WAVELENGTH))
    both = total_penalty(mu, context, {"resolution": 2.0, "molecular_bands": 0.5, "nonnegativity": 0.0})
    assert float(both) == pytest.approx(float(2 * penalty("resolution", mu, context) + 0.5 * penalty("molecular_bands", mu, context)))
    assert float(total_penalty(mu, context, {"resolution": 0.0})) == 0


def test_the_molecule_of_a_simulated_spectrum_has_the_largest_share():
    for molecule in ("H2O", "CH4", "CO2", "NH3"):
        depth = transmission_spectrum(WAVELENGTH, 0.1, 1e-4, {molecule: 1e-3}, 1.0, 1e-27)[None]
        mu = torch.from_numpy(depth)
        context = make_context(mu, torch.full_like(mu, 1e-5), torch.from_numpy(WAVELENGTH))
        shares = {name: float(share) for name, share in molecule_shares(mu, context).items()}
        assert shares.pop("rest") < 0.05
        assert max(shares, key=shares.get) == molecule


def test_a_spectrum_without_variation_has_no_molecule_shares():
    mu, sigma = draw_spectra(planets=3)
    mu = torch.cat([mu, torch.full_like(mu[:1], 0.0148), torch.zeros_like(mu[:1])])
    context = make_context(mu, torch.cat([sigma, sigma[:2]]), torch.from_numpy(WAVELENGTH))
    for name, share in molecule_shares(mu, context).items():
        assert share[:3].isfinite().all() and share[:3].abs().max() <= 1 + 1e-6, name
        assert share[3:].isnan().all(), name


def test_the_high_pass_filter_is_a_projection_and_suppresses_slopes():
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


def test_inconsistent_shapes_raise_an_error():
    with pytest.raises(ValueError, match="wavelength"):
        make_context(torch.ones(2, 5), torch.ones(2, 5), torch.ones(4))
