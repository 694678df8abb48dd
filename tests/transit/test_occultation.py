"""The limb-darkened occultation: flux equal to batman's, derivatives, limits of no and full overlap."""

import numpy as np
import pytest

from ariel_lib.transit.occultation import transit_flux

batman = pytest.importorskip("batman")


def contact_points(k):
    """A dense grid of separations with z = 0, 1, the contact points, and values just beside them."""
    edges = np.array([0.0, 1.0, 1 - k, 1 + k, k, abs(1 - 2 * k)])
    return np.unique(
        np.clip(np.concatenate([np.linspace(0, 1 + 1.2 * k, 800), edges, edges + 1e-4, edges - 1e-4]), 0, None)
    )


@pytest.mark.parametrize("k", [0.03, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("u", [(0.0, 0.0), (0.1, 0.2), (0.5, 0.2)])
def test_equals_batman_to_a_tenth_of_a_ppm(k, u):
    z = contact_points(k)
    flux = transit_flux(z[:, None], np.array([k]), np.array([u[0]]), np.array([u[1]]))[0][0]
    reference = batman._quadratic_ld._quadratic_ld(z, k, *u, 1)
    assert np.abs(flux - reference).max() < 1e-7


def test_derivatives_equal_finite_differences():
    z = np.linspace(0.0, 1.15, 300)[:, None]
    step = 1e-5

    def evaluate(k=0.1, u1=0.3, u2=0.2, shift=0.0):
        return transit_flux(z + shift, np.array([k]), np.array([u1]), np.array([u2]), np.ones((*z.shape, 1)))

    _, d_k, d_u, d_z = evaluate()
    smooth = np.abs(np.abs(z[:, 0] - 1) - 0.1) > 2e-3  # finite differences are invalid across a contact point
    for analytic, name in ((d_k[0], "k"), (d_u[0, 0], "u1"), (d_u[0, 1], "u2"), (d_z[0, 0], "shift")):
        start = {"k": 0.1, "u1": 0.3, "u2": 0.2, "shift": 0.0}[name]
        numeric = (evaluate(**{name: start + step})[0] - evaluate(**{name: start - step})[0])[0] / (2 * step)
        np.testing.assert_allclose(analytic[smooth][1:], numeric[smooth][1:], atol=2e-4 * np.abs(numeric).max())


def test_the_flux_is_one_without_overlap_and_zero_at_full_cover():
    k, u = np.array([0.1]), np.array([0.2])
    assert transit_flux(np.array([[1.1], [5.0], [np.inf]]), k, u, u)[0] == pytest.approx(1.0, abs=0)
    assert transit_flux(np.array([[0.0]]), np.array([1.0]), u, u)[0] == pytest.approx(0.0, abs=1e-12)


def test_exposure_average_is_the_mean_of_its_parts():
    z = np.array([[0.95, 1.0, 1.05]])
    k, u = np.array([0.1]), np.array([0.2])
    parts = [transit_flux(z[:, [n]], k, u, u)[0][0, 0] for n in range(3)]
    assert transit_flux(z, k, u, u)[0][0, 0] == pytest.approx(np.mean(parts), rel=1e-14)
