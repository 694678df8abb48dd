"""The transit fit on external data: an ExoSim planet and a real transit. Skipped where the data are absent."""

from pathlib import Path

import numpy as np
import pytest

from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.transit.estimate import estimate_depths

DATA = Path(__file__).parents[2] / "../shared/data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def z_of_average(estimate, truth, group):
    share = estimate.sigma_uncorrelated[group] ** -2 / np.sum(estimate.sigma_uncorrelated[group] ** -2)
    error = share @ (estimate.depth - truth)[group]
    return error / np.sqrt(share @ estimate.covariance[np.ix_(group, group)] @ share)


def test_exosim_frames_give_their_true_spectrum():
    archive = Archive(DATA / "exosim")
    curves = calibrate_visit(archive, "train", "9000001", 0, CalibrationSettings())
    estimate = estimate_depths([curves], archive.star("train", "9000001"), archive.wavelengths())
    truth = archive.labels("train").of(["9000001"])[0]
    airs = np.arange(1, len(truth))
    assert abs(estimate.depth[0] - truth[0]) < 2 * estimate.sigma[0]
    assert abs(z_of_average(estimate, truth, airs)) < 2
    bins = [z_of_average(estimate, truth, group) for group in np.array_split(airs, 12)]
    assert 0.7 < np.sqrt(np.mean(np.square(bins))) < 1.3
    assert estimate.flags == ()


def test_a_real_transit_is_fitted_to_its_photon_noise():
    archive = Archive(DATA / "adc2025")
    with np.load(DATA / "adc2025" / "lightcurve_244787369.npz") as file:
        fgs1, airs, truth = file["fgs_visit0_final"], file["airs_visit1_final"], file["truth"]
        times = file["t_fgs_h"], file["t_airs_h"]

    def curve(time, flux, samples, pixels, masked):
        read = np.full(flux.shape, 19.0**2 * pixels / samples)
        background = np.zeros(len(time))
        return LightCurve(time, flux, flux / samples, read, np.zeros((len(time), 2)), background, np.full(flux.shape, masked))

    visits = [
        LightCurves("244787369", n, curve(times[0], fgs1, 50, 144, n == 1), curve(times[1], airs, 5, 16, n == 0)) for n in (0, 1)
    ]
    estimate = estimate_depths(visits, archive.star("train", "244787369"), archive.wavelengths())
    assert abs(estimate.depth[0] - truth[0]) < 2.5 * estimate.sigma[0]
    assert abs(z_of_average(estimate, truth, np.arange(1, len(truth)))) < 2.5
    for white in estimate.white:
        assert np.std(white.flux - white.model) == pytest.approx(white.sigma, rel=0.1)


def test_the_labels_have_larger_features_where_the_scale_height_is_larger():
    known = LabelledSpectra.read(Dataset(DATA / "adc2025", "train"))
    size = known.labels.depth[:, 1:].std(axis=1)
    assert np.corrcoef(np.log(size), np.log(known.scale))[0, 1] == pytest.approx(0.69, abs=0.01)
