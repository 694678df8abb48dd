"""Calibration of external frames: the fused kernel agrees with the composed steps and with the results of an earlier version."""

from pathlib import Path

import numpy as np
import pytest

from ariel_lib.calibration import fused, pipeline
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.io.archive import Archive

DATA = Path(__file__).parents[2] / "../shared/data"
NATIVE = CalibrationSettings(airs_samples=None)

# Mean flux, electrons per sample, from the composed steps of commit 7fa12a8: FGS1, and AIRS over all wavelengths.
BEFORE = {
    ("exosim", "9000001"): (358180.730, 54623.679),
    ("adc2025", "342072318"): (213559.141, 55281.921),
}


@pytest.fixture(scope="module", params=BEFORE, ids=lambda source: source[0])
def both(request):
    folder, planet = request.param
    if not (DATA / folder / "train" / planet).is_dir():
        pytest.skip(f"needs ../shared/data/{folder}")
    archive = Archive(request.getfixturevalue("real_frames") if folder == "adc2025" else DATA / folder)
    composed, fast = (module.calibrate_visit(archive, "train", planet, 0, NATIVE) for module in (pipeline, fused))
    return request.param, composed, fast


@pytest.mark.parametrize("name", ["fgs1", "airs"])
def test_kernel_and_composed_steps_agree(both, name):
    composed, fast = (getattr(curves, name) for curves in both[1:])
    np.testing.assert_array_equal(fast.mask, composed.mask)
    np.testing.assert_array_equal(fast.time, composed.time)
    for field in ("flux", "variance_poisson", "variance_read", "background"):
        expected = getattr(composed, field)
        scale = np.abs(expected).max(0) + (expected.max(0) == 0)
        np.testing.assert_allclose(getattr(fast, field) / scale, expected / scale, rtol=0, atol=3e-6, err_msg=field)
    np.testing.assert_allclose(fast.centroid, composed.centroid, atol=3e-6)


def test_mean_flux_equals_that_of_the_earlier_version(both):
    source, _, fast = both
    found = [curve.flux.astype(float).mean() for curve in (fast.fgs1, fast.airs)]
    np.testing.assert_allclose(found, BEFORE[source], rtol=1e-6)
