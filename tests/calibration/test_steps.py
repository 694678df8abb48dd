"""Each calibration step from counts to flat-fielded samples: exact, pure, with variances that agree with Monte Carlo."""

import copy

import numpy as np
import pytest

from ariel_lib.calibration.adc import to_electrons
from ariel_lib.calibration.cds import difference_reads, sample_times
from ariel_lib.calibration.dark import subtract_dark
from ariel_lib.calibration.flat import divide_flat
from ariel_lib.calibration.frames import Frames
from ariel_lib.calibration.linearity import correct_linearity, evaluate
from ariel_lib.calibration.pipeline import reduce_reads
from ariel_lib.io.layout import Converter


def frames_of(signal, poisson=0.0, read=100.0, mask=False) -> Frames:
    signal = np.asarray(signal, float)
    full = [np.full(signal.shape, value, float) for value in (poisson, read)]
    return Frames(signal, *full, np.full(signal.shape, mask))


def test_to_electrons_inverts_the_converter_and_masks_full_scale():
    converter = Converter(0.4369, -1000.0)
    counts = np.array([0, 437, 65534, 65535], np.uint16).reshape(4, 1, 1)
    frames = to_electrons(counts, converter, np.array([[13.0]]))
    np.testing.assert_allclose((frames.signal - converter.offset) * converter.gain, counts, rtol=1e-12)
    assert frames.mask.ravel().tolist() == [False, False, False, True]
    np.testing.assert_allclose(frames.variance_read, 13.0**2 + (1 / 0.4369) ** 2 / 12)


def test_evaluate_equals_numpy_polynomial_and_its_derivative(rng):
    coefficients = rng.normal(size=(6, 3, 4))
    signal = rng.normal(size=(7, 3, 4))
    value, slope = evaluate(coefficients, signal)
    for row, column in np.ndindex(3, 4):
        polynomial = np.polynomial.Polynomial(coefficients[:, row, column])
        np.testing.assert_allclose(value[:, row, column], polynomial(signal[:, row, column]), rtol=1e-12)
        np.testing.assert_allclose(slope[:, row, column], polynomial.deriv()(signal[:, row, column]), rtol=1e-12)


def test_linearity_scales_read_variance_by_the_squared_derivative():
    coefficients = np.array([0.0, 1.0, 1e-3, 0, 0, 0]).reshape(6, 1, 1)
    corrected = correct_linearity(frames_of([[[100.0]]]), coefficients)
    np.testing.assert_allclose(corrected.signal, 110.0)
    np.testing.assert_allclose(corrected.variance_read, 100 * 1.2**2)
    np.testing.assert_allclose(corrected.variance_poisson, 110.0)


def test_dark_subtraction_keeps_the_poisson_variance():
    frames = frames_of(np.full((2, 1, 1), 50.0), poisson=50.0)
    result = subtract_dark(frames, np.array([[2.0]]), np.array([0.1, 4.5]))
    np.testing.assert_allclose(result.signal.ravel(), [49.8, 41.0])
    np.testing.assert_allclose(result.variance_poisson, 50.0)


def test_cds_subtracts_poisson_variances_and_adds_read_variances():
    frames = Frames(
        np.array([10.0, 110.0, 10.0, 4.0, 7.0]).reshape(5, 1, 1),
        np.array([10.0, 110.0, 10.0, 4.0, 7.0]).reshape(5, 1, 1),
        np.full((5, 1, 1), 169.0),
        np.array([False, False, True, False, False]).reshape(5, 1, 1),
    )
    samples = difference_reads(frames)
    assert samples.signal.ravel().tolist() == [100.0, -6.0]  # the fifth read has no partner
    assert samples.variance_poisson.ravel().tolist() == [100.0, 0.0]  # noise can make the charge negative, but not the variance
    assert samples.variance_read.ravel().tolist() == [338.0, 338.0]
    assert samples.mask.ravel().tolist() == [False, True]


def test_sample_times_are_half_a_ramp_after_the_second_time_stamp():
    times = sample_times(np.array([0.1, 0.2, 4.9, 5.0, 9.7]) / 3600, np.array([0.1, 4.5, 0.1, 4.5, 0.1]))
    np.testing.assert_allclose(times * 3600, [2.4, 7.2])


def test_flat_division_keeps_bad_pixels_finite_and_masks_them():
    bad = np.array([[False, True]])
    result = divide_flat(frames_of(np.full((3, 1, 2), 8.0)), np.array([[0.5, 0.0]]), bad)
    np.testing.assert_allclose(result.signal[0, 0], [16.0, 8.0])
    np.testing.assert_allclose(result.variance_read[0, 0], [400.0, 100.0])
    np.testing.assert_array_equal(result.mask[:, 0], np.tile([False, True], (3, 1)))


def test_reduction_inverts_a_noiseless_visit(make_visit, instrument, rng):
    curve = 1 - 0.02 * (np.abs(np.arange(12) - 6) < 3)
    visit = make_visit(instrument, 12, rng, noise=False, curve=curve, sky=0.0)
    frames = reduce_reads(visit.counts, visit.detector, 0)
    expected = visit.light[:, None, :] if instrument.crop else visit.light.sum(1)[:, None, None]
    total = frames.signal.sum(1, keepdims=True) if instrument.crop else frames.signal.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_the_scatter_of_reduced_samples_equals_their_variance(make_visit, instrument, rng):
    n = 400
    visit = make_visit(instrument, n, rng, brightness=400_000.0)
    frames = reduce_reads(visit.counts, visit.detector, 0)
    ratio = frames.signal.var(0, ddof=1) / frames.variance.mean(0)
    # Mean over p pixels of a variance ratio from n samples: 1 ± √(2 / n p); a faint Poisson variance is clipped.
    lit = frames.signal.mean(0) > 100
    assert ratio[lit].mean() == pytest.approx(1, abs=5 * np.sqrt(2 / n / lit.sum()))
    assert ratio.mean() == pytest.approx(1, abs=0.02)


def test_steps_leave_their_inputs_unchanged(make_visit, spectrometer, rng):
    visit = make_visit(spectrometer, 3, rng)
    before = copy.deepcopy((visit.counts, visit.detector.maps))
    reduce_reads(visit.counts, visit.detector, 0)
    np.testing.assert_array_equal(visit.counts, before[0])
    for name in ("dark", "flat", "read_noise", "dead", "linearity"):
        np.testing.assert_array_equal(getattr(visit.detector.maps, name), getattr(before[1], name))
