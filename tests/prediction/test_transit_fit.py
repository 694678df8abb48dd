"""ariel_lib.prediction.transit_fit and transit_priors: named parameters, their posterior, priors and fixed values, bad input."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from ariel_lib.errors import SpectraMindError
from ariel_lib.prediction.transit_fit import TransitFit, fit_transit
from ariel_lib.prediction.transit_priors import LimbDarkening, Orbit
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.orbit import transit_duration
from ariel_lib.transit.physical_priors import FIXED, catalogue_priors

SEED, T0 = 3, 3.7


@pytest.fixture(scope="module")
def curves(scene):
    return scene.observe(np.random.default_rng(SEED), t0=T0)


@pytest.fixture(scope="module")
def fit(scene, curves):
    return fit_transit(curves, star=scene.star, wavelength=scene.wavelength)


def test_depths_are_those_of_the_pipeline_to_the_last_bit(scene, curves, fit):
    with threadpool_limits(1):
        estimate = estimate_depths([curves], scene.star, scene.wavelength)
    np.testing.assert_array_equal(fit.depth, estimate.depth)
    np.testing.assert_array_equal(fit.covariance, estimate.covariance)
    assert fit.planet_id == scene.star.planet_id and fit.flags == estimate.flags


def test_named_parameters_are_the_truth_within_their_errors(scene, fit):
    star = scene.star
    b = star.sma * np.cos(np.radians(star.i))
    expected = {"a_over_rs": star.sma, "impact_parameter": b, "t0, visit 0, FGS1": T0, "t0, visit 0, AIRS-CH0": T0}
    expected["transit_duration"] = transit_duration(24 * star.P, np.log(star.sma), b**2, np.sqrt(scene.depth.mean()))
    assert set(fit.parameters) == set(expected)
    for name, found in fit.parameters.items():
        assert 0 < found.sigma < 0.5 * abs(found.value) and abs(found.value - expected[name]) < 4 * found.sigma, name
    assert fit.transit_duration.sigma < 0.05  # the light curve shows it, whatever the prior on a/Rs
    assert {p.unit for p in fit.t0.values()} == {fit.transit_duration.unit} == {"h"}


def test_samples_have_the_posteriors_mean_and_covariance(fit):
    n = 20_000
    drawn = fit.samples(n, np.random.default_rng(0))
    assert drawn["transit_depth"].shape == (n, 13) and drawn["u1"].shape == (n, 13) and drawn["t0"].shape == (n, 2)
    u, times = fit.limb_darkening, list(fit.t0.values())
    for values, mean, sigma in (
        (drawn["transit_depth"], fit.depth, fit.sigma),
        (np.log(drawn["a_over_rs"]), np.log(fit.a_over_rs.value), fit.a_over_rs.sigma / fit.a_over_rs.value),
        (drawn["u1"], u.u1, u.u1_sigma), (drawn["u2"], u.u2, u.u2_sigma),
        (drawn["t0"], [p.value for p in times], [p.sigma for p in times]),
    ):  # fmt: skip
        assert (np.abs(values.mean(axis=0) - mean) < 5 * np.asarray(sigma) / np.sqrt(n)).all()
        np.testing.assert_allclose(values.std(axis=0), sigma, rtol=5 / np.sqrt(2 * n))
    both = np.column_stack([drawn["transit_depth"], np.log(drawn["a_over_rs"])])
    expected = np.append(fit.covariance, fit.estimate.physical_coupling[:, :1], axis=1)
    spread = both.std(axis=0)
    np.testing.assert_allclose(np.cov(both.T)[:13] / np.outer(spread[:13], spread), expected / np.outer(spread[:13], spread), atol=0.04)
    assert np.abs(expected[:, 13] / (spread[:13] * spread[13])).max() > 0.1  # depth and orbit are tied: else the line above tests nothing


def test_impact_parameter_of_a_central_transit_has_a_finite_error(scene):
    curves = scene.observe(np.random.default_rng(4), inclination=90.0)
    fit = fit_transit(curves, star=replace(scene.star, i=90.0), wavelength=scene.wavelength)
    assert 0 <= fit.impact_parameter.value < 0.5 and 0 < fit.impact_parameter.sigma < 0.5
    assert (fit.samples(100, np.random.default_rng(0))["impact_parameter"] >= 0).all()


def test_limb_darkening_is_a_line_in_wavelength_over_airs(scene, fit):
    u = fit.limb_darkening
    orbit = fit.estimate.orbit
    assert (u.u1[0], u.u2[0]) == (orbit[2], orbit[3])
    x = scene.wavelength[1:] - 2.9
    np.testing.assert_allclose(u.u1[1:], orbit[4] + orbit[5] * x, rtol=1e-12)
    np.testing.assert_allclose(u.u2[1:], orbit[6] + orbit[7] * x, rtol=1e-12)


# Priors


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.3])
def test_a_fixed_orbit_stays_fixed_however_wrong(scene, curves, factor):
    a, b = factor * scene.star.sma, 0.25
    found = fit_transit(curves, star=scene.star, wavelength=scene.wavelength, orbit=Orbit(a, b))
    assert abs(found.a_over_rs.value / a - 1) < 1e-6 and found.a_over_rs.sigma < 1e-5
    assert abs(found.impact_parameter.value - b) < 1e-6 and found.impact_parameter.sigma < 1e-5
    assert np.isfinite(found.covariance).all() and (found.sigma > 0).all()
    assert found.samples(10, np.random.default_rng(0))["a_over_rs"] == pytest.approx(a, rel=1e-5)
    assert "fixed" not in repr(fit_transit(curves, star=scene.star, wavelength=scene.wavelength)) and "fixed" in str(found.impact_parameter)


@pytest.mark.parametrize("t0", [T0, T0 + 0.1])
def test_a_fixed_mid_transit_time_stays_fixed_and_is_not_searched(scene, curves, t0, monkeypatch):
    found = fit_transit(curves, star=scene.star, wavelength=scene.wavelength, t0=t0)
    assert all(abs(p.value - t0) < 1e-6 and p.sigma < 1e-6 for p in found.t0.values())
    again = fit_transit(curves, star=scene.star, wavelength=scene.wavelength, t0={0: (T0, 0.05)})
    assert all(0 < p.sigma < 0.02 and abs(p.value - T0) < 5 * p.sigma for p in again.t0.values())


def test_fixed_limb_darkening_stays_fixed(scene, curves):
    given = LimbDarkening(u1=(0.45, 0.1), u2=(0.2, 0.15))
    found = fit_transit(curves, star=scene.star, wavelength=scene.wavelength, limb_darkening=given).limb_darkening
    np.testing.assert_allclose(found.u1, [0.45] + [0.1] * 12, atol=1e-6)
    np.testing.assert_allclose(found.u2, [0.2] + [0.15] * 12, atol=1e-6)
    assert max(found.u1_sigma.max(), found.u2_sigma.max()) < 1e-6


def test_a_tighter_prior_never_widens_the_depths(scene, curves):
    a, b = scene.star.sma, scene.star.sma * np.cos(np.radians(scene.star.i))
    u = fit_transit(curves, star=scene.star, wavelength=scene.wavelength).limb_darkening
    sigmas = []
    for width in (1.0, 0.1, 0.01, 0.0):
        found = fit_transit(
            curves, star=scene.star, wavelength=scene.wavelength, orbit=Orbit((a, 0.3 * a * width), (b, 0.3 * width)),
            limb_darkening=LimbDarkening(u.u1, u.u2, 0.1 * width, 0.1 * width), t0=(T0, 0.5 * width),
        )  # fmt: skip
        sigmas.append(found.sigma)
    # each fit measures its noise anew, which moves sigma by parts in a thousand
    assert all((tighter <= wider * 1.01).all() for wider, tighter in pairwise(sigmas))
    assert sigmas[-1][0] < 0.7 * sigmas[0][0]  # FGS1, whose photons tell most, gains by what is known of limb darkening


def test_results_of_one_fit_are_priors_of_another(scene, curves, fit):
    assert fit.orbit.period == pytest.approx(scene.star.P)
    other = scene.observe(np.random.default_rng(9), visit=0)
    found = fit_transit(other, star=scene.star, wavelength=scene.wavelength, orbit=fit.orbit, limb_darkening=fit.limb_darkening)
    assert found.a_over_rs.sigma < fit.a_over_rs.sigma
    u_mean, u_sigma = found.priors.limb_darkening
    np.testing.assert_allclose(u_mean, fit.estimate.orbit[2:], atol=1e-9)
    assert (u_sigma[[0, 1]] == [fit.limb_darkening.u1_sigma[0], fit.limb_darkening.u2_sigma[0]]).all()
    assert found.priors.orbit.log_a == pytest.approx((np.log(fit.a_over_rs.value), fit.a_over_rs.sigma / fit.a_over_rs.value))


def test_what_is_not_given_comes_from_the_star(scene, curves):
    catalogue = catalogue_priors(scene.star)
    found = fit_transit(curves, star=scene.star, wavelength=scene.wavelength, orbit=Orbit(a_over_rs=(8.5, 0.1))).priors
    assert found.orbit.b_squared == catalogue.orbit.b_squared and found.orbit.period == catalogue.orbit.period
    assert found.orbit.log_a == (np.log(8.5), 0.1 / 8.5) and not found.is_catalogue
    fixed = fit_transit(curves, wavelength=scene.wavelength, orbit=Orbit(9.0, 0.3, period=3.5)).priors.orbit
    assert (fixed.period, fixed.log_a, fixed.b_squared) == (84.0, (np.log(9.0), FIXED), (pytest.approx(0.09), FIXED))


def test_an_eccentric_star_is_refused_unless_an_orbit_is_given(scene, curves):
    eccentric = replace(scene.star, e=0.05)
    for orbit in (None, Orbit(period=3.5)):
        with pytest.raises(SpectraMindError, match=r"found e = 0\.05.*Give orbit=Orbit\(a_over_rs"):
            fit_transit(curves, star=eccentric, wavelength=scene.wavelength, orbit=orbit)
    found = fit_transit(curves, star=eccentric, wavelength=scene.wavelength, orbit=Orbit(a_over_rs=(9.0, 0.5)))
    assert "eccentric" in found.flags


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Orbit(a_over_rs=NAN), "a_over_rs: expected a finite number"),
        (lambda: Orbit(a_over_rs=(9.0, -0.1)), "a_over_rs: expected a standard deviation of 0 or more, found -0.1"),
        (lambda: Orbit(a_over_rs=(9.0, 0.1, 0.2)), "a_over_rs: expected a finite number, or a pair"),
        (lambda: Orbit(a_over_rs=0.9), "expected more than 1 stellar radius, found 0.9"),
        (lambda: Orbit(impact_parameter=-0.1), "impact_parameter: expected 0 or more"),
        (lambda: Orbit(a_over_rs=3.0, impact_parameter=4.0), "less than a_over_rs, found 4"),
        (lambda: Orbit(period=-3.0), "period: expected days, more than 0, found -3"),
        (lambda: Orbit(period=NAN), "period: expected days"),
        (lambda: LimbDarkening(NAN, 0.2), "limb darkening u1: expected one finite number"),
        (lambda: LimbDarkening(0.4, 0.2, u2_sigma=-0.1), "limb darkening u2_sigma: expected 0 or more, found -0.1"),
        (lambda: LimbDarkening(0.8, 0.3), "not darker than black, found 1.1"),
        (lambda: LimbDarkening(np.zeros((2, 2)), 0.0), "limb darkening u1: expected one finite number"),
    ],
)
def test_impossible_orbits_and_limb_darkening_are_refused_by_name(make, message):
    with pytest.raises(SpectraMindError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelength": np.linspace(1, 2, 12)}, "wavelength: expected 13 values.*found shape"),
        ({"wavelength": np.linspace(4, 1, 13)}, "wavelength: expected ascending finite values"),
        ({"t0": NAN}, "t0 of visit 0: expected a finite number"),
        ({"t0": (3.7, -0.1)}, "t0 of visit 0: expected a standard deviation"),
        ({"t0": {1: 3.7}}, "t0: expected visits among 0, found visit 1"),
        ({"t0": 40.0}, "t0 of visit 0: expected hours within a visit's length.*found 40"),
        ({"star": None, "orbit": Orbit(9.0, 0.3)}, "orbit: expected a period in days where the catalogue has none"),
        ({"limb_darkening": LimbDarkening(np.full(5, 0.1), 0.1)}, "limb darkening u1: expected .* or 13 values, found 5"),
        ({"limb_darkening": LimbDarkening(0.2, np.r_[0.2, 0.1 * np.sin(np.arange(12))])}, "limb darkening u2: .*a straight line"),
    ],
)
def test_bad_arguments_are_refused_by_name(scene, curves, options, message):
    arguments = {"star": scene.star, "wavelength": scene.wavelength} | options
    with pytest.raises(SpectraMindError, match=message):
        fit_transit(curves, **arguments)


def test_visits_of_one_planet_are_expected(scene, curves):
    with pytest.raises(SpectraMindError, match="at least one visit, found none"):
        fit_transit([], star=scene.star)
    with pytest.raises(SpectraMindError, match="visits of one planet, found 1 and 2"):
        fit_transit([curves, replace(curves, planet_id="2")], star=scene.star)
    with pytest.raises(SpectraMindError, match=r"expected \{visit: hours\} for visits 0, 1, found one value for all"):
        fit_transit([curves, replace(curves, visit=1)], star=scene.star, wavelength=scene.wavelength, t0=3.7)


# What a person reads


def test_representations_are_short_and_escaped(fit):
    assert len(repr(fit)) < 200 and repr(fit).startswith("TransitFit(planet 1, a/Rs ")
    hostile = replace(fit, estimate=replace(fit.estimate, planet_id="<script>"))
    assert "<script>" not in hostile._repr_html_() and "impact_parameter" in hostile._repr_html_()


def test_the_table_has_units_and_named_parameters(fit):
    units = pytest.importorskip("astropy.units")
    table = fit.to_table()
    assert table["wavelength"].unit == units.um and len(table) == 13
    np.testing.assert_array_equal(table["transit_depth"].value, fit.depth)
    np.testing.assert_array_equal(table["u1_sigma"], fit.limb_darkening.u1_sigma)
    assert table.meta["parameters"]["a_over_rs"] == (fit.a_over_rs.value, fit.a_over_rs.sigma, "")
    assert fit.wavelength.to_value("nm")[0] == pytest.approx(700)
    assert fit.t0[0, "FGS1"].quantity.to_value("min") == pytest.approx(60 * fit.t0[0, "FGS1"].value)
    assert fit.transit_depth.unit == units.dimensionless_unscaled


def test_without_astropy_arrays_serve_and_quantities_say_what_is_missing(fit, monkeypatch):
    for name in ("astropy", "astropy.units", "astropy.table"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for read in (lambda: fit.wavelength, lambda: fit.transit_depth, fit.to_table, lambda: fit.a_over_rs.quantity):
        with pytest.raises(SpectraMindError, match=r"expected astropy, found none installed. pip install"):
            read()
    assert fit.wavelength_um.shape == fit.depth.shape and "a_over_rs" in fit.parameters


def test_the_plot_shows_every_instrument_and_visit(scene, curves):
    second = scene.observe(np.random.default_rng(5), visit=1, t0=3.2)
    fit = fit_transit([curves, second], star=scene.star, wavelength=scene.wavelength)
    assert isinstance(fit, TransitFit)
    figure = fit.plot()
    assert [panel.get_title(loc="left") for panel in figure.axes[:4]] == [
        "FGS1, visit 0", "AIRS-CH0, visit 0", "FGS1, visit 1", "AIRS-CH0, visit 1"
    ]  # fmt: skip
    assert figure._repr_png_().startswith(b"\x89PNG")
