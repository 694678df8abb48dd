"""ariel_lib.transit.limb_darkening: weaker on hotter stars and towards the infrared, as the cited tables have it."""

import numpy as np
import pytest

from ariel_lib.transit.limb_darkening import AIRS_HALF_WIDTH, AIRS_PIVOT, airs_coefficients, limb_darkening_prior

FGS1_U1, FGS1_U2, PIVOT_U1, SLOPE_U1, PIVOT_U2, SLOPE_U2 = range(6)
TEMPERATURES = (5000.0, 5750.0, 6500.0)
AIRS = np.linspace(1.95, 3.9, 40)
# u1/3 + u2/6 of Claret & Bloemen 2011 (A&A 529, A75; ATLAS, least squares, log g 4.5, solar): R and I averaged, and the line
# through K and IRAC 3.6 at 2.9 micron
PUBLISHED_LOSS = {5000.0: (0.1883, 0.0680), 5750.0: (0.1564, 0.0581), 6500.0: (0.1312, 0.0492)}


def loss(u1, u2):
    """Light that the limb lacks, of a disc as bright as its centre everywhere."""
    return u1 / 3 + u2 / 6


def means(temperature):
    return limb_darkening_prior(temperature)[0]


def airs_of(temperature):
    return airs_coefficients(means(temperature)[PIVOT_U1:], AIRS)[:2]


def test_hotter_stars_are_less_darkened_at_every_wavelength():
    cool, sun, hot = (np.concatenate([[loss(*means(t)[:PIVOT_U1])], loss(*airs_of(t))]) for t in TEMPERATURES)
    assert (cool > sun).all() and (sun > hot).all()


def test_each_coefficient_follows_the_temperature_as_in_the_tables():
    found = np.array([means(temperature) for temperature in TEMPERATURES])
    assert (np.diff(found[:, FGS1_U1]) < 0).all() and (np.diff(found[:, FGS1_U2]) > 0).all()
    assert (np.diff(found[:, PIVOT_U1]) < 0).all() and (np.diff(found[:, PIVOT_U2]) <= 0).all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_darkening_falls_towards_the_infrared(temperature):
    found = loss(*airs_of(temperature))
    assert (np.diff(found) < 0).all()
    assert loss(*means(temperature)[:PIVOT_U1]) > 1.5 * found[0]
    assert (np.diff(airs_of(temperature)[1]) < 0).all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_light_lost_at_the_limb_is_near_the_published_tables(temperature):
    mean = means(temperature)
    fgs1, airs = PUBLISHED_LOSS[temperature]
    assert loss(mean[FGS1_U1], mean[FGS1_U2]) == pytest.approx(fgs1, abs=0.02)
    assert loss(mean[PIVOT_U1], mean[PIVOT_U2]) == pytest.approx(airs, abs=0.007)


@pytest.mark.parametrize("temperature", [3000.0, *TEMPERATURES, 9000.0])
def test_every_disc_of_the_prior_is_bright_and_darkens_to_its_limb(temperature):
    mean, width = limb_darkening_prior(temperature)
    assert (width > 0).all() and mean.shape == width.shape == (6,)
    for u1, u2 in ((mean[FGS1_U1], mean[FGS1_U2]), *zip(*airs_of(temperature))):
        assert u1 + u2 < 1 and u1 > 0 and u1 + 2 * u2 > 0


def test_beyond_the_tables_the_temperature_is_that_of_their_end():
    for end, beyond in ((4000.0, 2500.0), (7000.0, 12000.0)):
        np.testing.assert_array_equal(means(beyond), means(end))
    assert (means(4100.0) != means(4000.0)).any() and (means(6900.0) != means(7000.0)).any()


def test_the_prior_is_wide_enough_for_other_models_and_narrow_enough_to_tell_the_bands_apart():
    mean, width = limb_darkening_prior(5800.0)
    phoenix = np.array([0.389, 0.219])  # FGS1 of the same paper's PHOENIX models
    assert (np.abs(phoenix - mean[:PIVOT_U1]) < 2 * width[:PIVOT_U1]).all()
    assert loss(*width[:PIVOT_U1]) < loss(*mean[:PIVOT_U1]) / 2


def test_airs_coefficients_are_lines_through_their_pivot():
    wavelength = AIRS_PIVOT + AIRS_HALF_WIDTH * np.array([-1, 0, 2])
    u1, u2, x = airs_coefficients(np.array([0.1, -0.02, 0.2, 0.03]), wavelength)
    np.testing.assert_allclose(x, [-1, 0, 2], atol=1e-12)
    np.testing.assert_allclose(u1, [0.12, 0.1, 0.06])
    np.testing.assert_allclose(u2, [0.17, 0.2, 0.26])
    assert AIRS.min() < AIRS_PIVOT < AIRS.max()


# Rounded to four digits by hand from the tables: FGS1 the mean of R and I, AIRS the line through K (2.19) and IRAC 3.6 (3.55 micron).
NODES = {
    4000.0: (0.4500, 0.2437, 0.0701, -0.0226, 0.2610, -0.0613),
    5000.0: (0.4682, 0.1930, 0.0795, 0.0034, 0.2491, -0.0866),
    5750.0: (0.3313, 0.2758, 0.0626, 0.0110, 0.2231, -0.0823),
    7000.0: (0.1973, 0.3274, 0.0390, 0.0118, 0.1920, -0.0643),
}


@pytest.mark.parametrize("temperature", NODES)
def test_at_a_node_of_the_tables_the_means_are_theirs(temperature):
    np.testing.assert_allclose(means(temperature), NODES[temperature], atol=6e-5)
    u1, u2, _ = airs_coefficients(means(5750.0)[PIVOT_U1:], np.array([2.19, 3.55]))
    np.testing.assert_allclose(u1, [0.0548, 0.0698])  # K and IRAC 3.6 at 5750 K
    np.testing.assert_allclose(u2, [0.2815, 0.1696])


def test_between_two_nodes_the_means_are_linear_in_the_temperature():
    for cool in np.arange(4000.0, 7000.0, 250.0):
        np.testing.assert_allclose(means(cool + 100), 0.6 * means(cool) + 0.4 * means(cool + 250), rtol=1e-12)


def test_the_light_lost_at_the_limb_falls_from_band_to_band_at_every_temperature():
    for temperature in np.arange(4000.0, 7001.0, 250.0):
        assert (np.diff(loss(*airs_of(temperature))) < 0).all()
        assert loss(*means(temperature)[:PIVOT_U1]) > 1.5 * loss(*airs_of(temperature)).max()
