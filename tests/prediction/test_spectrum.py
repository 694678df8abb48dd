"""ariel_lib.prediction.spectrum and parameter: samples, tables, figures, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.prediction.parameter import Parameter
from ariel_lib.prediction.spectrum import Spectrum

WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, 5)])
DEPTH = np.linspace(0.010, 0.011, 6)


@pytest.fixture
def spectrum():
    """With a covariance whose standard deviations span two orders of magnitude."""
    scale = np.geomspace(1e-6, 1e-4, 6)
    covariance = (0.7 + 0.3 * np.eye(6)) * np.outer(scale, scale)
    return Spectrum("42", WAVELENGTH, DEPTH, scale, covariance)


def test_samples_have_the_mean_and_the_covariance(spectrum):
    n = 40_000
    drawn = spectrum.samples(n, np.random.default_rng(0))
    assert (np.abs(drawn.mean(axis=0) - DEPTH) < 5 * spectrum.sigma / np.sqrt(n)).all()
    np.testing.assert_allclose(np.cov(drawn.T) / spectrum.covariance, 1, atol=0.05)
    alone = spectrum.samples(n, np.random.default_rng(0), independent=True)
    np.testing.assert_allclose(alone.std(axis=0), spectrum.sigma, rtol=0.02)
    assert np.abs(np.corrcoef(alone.T) - np.eye(6)).max() < 0.03


def test_samples_are_those_of_the_generator(spectrum):
    one, two = (spectrum.samples(3, np.random.default_rng(seed)) for seed in (5, 5))
    np.testing.assert_array_equal(one, two)


def test_sigmas_alone_are_not_taken_for_independent_errors(spectrum):
    marginal = replace(spectrum, covariance=None)
    with pytest.raises(SpectraMindError, match=r"expected a covariance, found standard deviations alone. Pass independent=True"):
        marginal.samples(3, np.random.default_rng(0))
    assert marginal.samples(3, np.random.default_rng(0), independent=True).shape == (3, 6)
    with pytest.raises(SpectraMindError, match="n of at least 1, found 0"):
        marginal.samples(0, np.random.default_rng(0), independent=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": DEPTH[:5]}, r"arrays of one length, found depth \(5,\)"),
        ({"covariance": np.eye(5)}, r"arrays of one length, found covariance \(5, 5\)"),
        ({"sigma": np.full(6, np.nan)}, "finite depths and positive sigmas"),
        ({"sigma": np.zeros(6)}, "finite depths and positive sigmas"),
        ({"depth": np.full(6, np.inf)}, "finite depths and positive sigmas"),
    ],
)
def test_arrays_that_are_no_spectrum_are_refused(spectrum, change, message):
    with pytest.raises(SpectraMindError, match=message):
        replace(spectrum, **change)


def test_the_table_has_every_answer_with_its_unit(spectrum):
    units = pytest.importorskip("astropy.units")
    both = replace(spectrum, answers={"fit": replace(spectrum, depth=2 * DEPTH)}, note="a remark")
    table = both.to_table()
    assert table.colnames == ["wavelength", "transit_depth", "sigma", "fit_depth", "fit_sigma"]
    assert table["wavelength"].unit == units.um and table["fit_depth"].unit == units.dimensionless_unscaled
    np.testing.assert_array_equal(table["fit_depth"].value, 2 * DEPTH)
    assert table.meta == {"planet_id": "42", "note": "a remark"}
    assert both.wavelength.to_value("nm")[0] == pytest.approx(700) and both.transit_depth.to_value("percent")[0] == pytest.approx(1)


def test_figures_show_depths_in_ppm_and_the_truth_where_it_is_known(spectrum):
    figure = spectrum.plot()
    line = figure.axes[1].lines[0]
    np.testing.assert_allclose(line.get_xydata(), np.column_stack([WAVELENGTH, 1e6 * DEPTH])[1:])
    assert len(figure.axes[1].lines) == 1 and len(spectrum.plot(truth=DEPTH).axes[1].lines) == 2
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(SpectraMindError, match=r"truth: expected 6 wavelengths, found shape \(5,\)"):
        spectrum.plot(truth=DEPTH[:5])


def test_representations_are_short_and_escaped(spectrum):
    assert repr(spectrum) == "Spectrum(planet 42, 6 wavelengths from 0.70 to 3.90 micron, mean depth 0.010500, median sigma 11 ppm)"
    page = replace(spectrum, planet_id="<b>", note="<i>")._repr_html_()
    assert "<b>" not in page and "<i>" not in page and "0.700" in page and "3.900" in page and len(page) < 2000


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (Parameter(9.0234, 0.0512), "9.023 ± 0.051"),
        (Parameter(3.70123, 0.0034, "h"), "3.7012 ± 0.0034 h"),
        (Parameter(150.0, 23.4), "150 ± 23"),
        (Parameter(9.0, 1e-8, "h"), "9 (fixed) h"),
        (Parameter(9.0, float("inf")), "9 ± inf"),
    ],
)
def test_a_parameter_is_printed_with_two_digits_of_its_error(parameter, text):
    assert str(parameter) == text
