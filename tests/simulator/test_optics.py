"""Images on the detectors, their derivatives by the pointing, and jitter."""

import numpy as np
import pytest

from ariel_lib.instrument import AIRS, FGS1, airs_wavelengths
from ariel_lib.simulator import optics
from ariel_lib.simulator.optics import JITTER_RMS, draw_pointing, image_derivatives, jitter_basis
from ariel_lib.simulator.star import airs_rates

RATES = {AIRS.name: airs_rates(airs_wavelengths(), 4798, 6), FGS1.name: np.array([2.2e6])}


@pytest.mark.parametrize("instrument", [FGS1, AIRS], ids=lambda i: i.name)
def test_the_image_contains_the_light_of_the_star(instrument):
    image = image_derivatives(instrument, RATES[instrument.name])[0]
    assert (image >= 0).all()
    assert image.sum() == pytest.approx(RATES[instrument.name].sum(), rel=0.03)


def test_the_images_have_the_measured_concentration():
    airs = image_derivatives(AIRS, RATES[AIRS.name])[0]
    fgs1 = image_derivatives(FGS1, RATES[FGS1.name])[0]
    assert airs[12:20].sum() / airs.sum() == pytest.approx(0.93, abs=0.02)  # measured on planet 342072318
    assert airs.max() * AIRS.ramp_time == pytest.approx(58e3, rel=0.1)
    assert fgs1[12:20, 12:20].sum() / fgs1.sum() == pytest.approx(0.92, abs=0.02)
    assert fgs1.max() * FGS1.ramp_time == pytest.approx(22e3, rel=0.25)


@pytest.mark.parametrize("instrument", [FGS1, AIRS], ids=lambda i: i.name)
def test_derivatives_along_rows_predict_a_shifted_image(instrument, monkeypatch):
    rates, shift = RATES[instrument.name], 0.05
    here = image_derivatives(instrument, rates)
    row, column = optics.FGS1_CENTRE
    monkeypatch.setattr(optics, "FGS1_CENTRE", (row + shift, column))
    monkeypatch.setattr(optics, "AIRS_TRACE_ROW", optics.AIRS_TRACE_ROW + shift)
    shifted = image_derivatives(instrument, rates)[0]
    predicted = np.tensordot(jitter_basis(np.array([[shift, 0.0]]), (0.0, 0.0))[0], here, 1)
    np.testing.assert_allclose(predicted, shifted, atol=2e-4 * shifted.max())
    assert np.abs(here[0] - shifted).max() > 2e-3 * shifted.max()  # the shift is larger than the error of the expansion


def test_derivatives_along_columns_predict_a_shifted_image(monkeypatch):
    shift = 0.05
    here = image_derivatives(FGS1, RATES[FGS1.name])
    monkeypatch.setattr(optics, "FGS1_CENTRE", (optics.FGS1_CENTRE[0], optics.FGS1_CENTRE[1] + shift))
    shifted = image_derivatives(FGS1, RATES[FGS1.name])[0]
    predicted = np.tensordot(jitter_basis(np.array([[0.0, shift]]), (0.0, 0.0))[0], here, 1)
    np.testing.assert_allclose(predicted, shifted, atol=2e-4 * shifted.max())


def test_jitter_basis_scales_the_flux_by_the_response():
    basis = jitter_basis(np.array([[0.1, 0.0], [0.0, 0.1]]), (0.01, 0.03))
    np.testing.assert_allclose(basis[:, 0], [1.001, 1.003])


def test_drawn_pointing_has_the_measured_rms_and_autocorrelation():
    fgs1, airs = draw_pointing(np.random.default_rng(0), 60000, 5000)
    np.testing.assert_allclose(fgs1.std(axis=0), JITTER_RMS[FGS1.name], rtol=0.03)
    np.testing.assert_allclose(airs.std(axis=0), JITTER_RMS[AIRS.name], rtol=0.05)
    assert np.corrcoef(fgs1[1:, 0], fgs1[:-1, 0])[0, 1] == pytest.approx(0.36, abs=0.03)
    assert np.corrcoef(fgs1[:, 0].reshape(5000, 12).mean(axis=1), airs[:, 0])[0, 1] == pytest.approx(1.0)
