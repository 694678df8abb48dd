"""Without background and optimal weights, both pipelines agree with the calibration recipe of the challenge's organisers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ariel_lib.calibration import fused, pipeline
from ariel_lib.calibration.background import BackgroundPlan
from ariel_lib.calibration.extraction import ExtractionPlan
from ariel_lib.calibration.plan import Plan, open_detector
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, airs_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.writer import write_axis, write_calibration_maps, write_converters, write_signal

SCRIPT = Path(__file__).parents[2] / "benchmarks/organisers.py"


@pytest.fixture(scope="module")
def organisers():
    spec = importlib.util.spec_from_file_location("organisers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, make_visit):
    """One noisy visit with dead and hot pixels."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(8)
    for instrument, n in ((AIRS, 9), (FGS1, 40)):
        visit = make_visit(instrument, n, rng, brightness=400_000.0)
        maps = visit.detector.maps
        maps.dead.ravel()[rng.choice(instrument.pixels, 20, replace=False)] = True
        maps.dark.ravel()[rng.choice(instrument.pixels, 20, replace=False)] = 50.0
        maps.flat[maps.dead] = 0.0
        write_signal(root, "train", "11", 0, instrument, [visit.counts])
        write_calibration_maps(root, "train", "11", 0, instrument, maps)
    write_axis(root, np.arange(18) / 900, np.tile([0.1, 4.5], 9), np.arange(80) / 10800, airs_wavelengths())
    write_converters(root, {name: visit.detector.converter for name in INSTRUMENTS})
    return Archive(root), "11"


@pytest.fixture(scope="module")
def real(real_frames):
    return Archive(real_frames), "342072318"


@pytest.mark.parametrize("source", ["simulated", "real"])
@pytest.mark.parametrize("instrument", [AIRS, FGS1], ids=["AIRS", "FGS1"])
def test_sums_of_unmasked_pixels_agree_with_the_organisers_recipe(organisers, source, instrument, request):
    archive, planet = request.getfixturevalue(source)
    theirs = organisers.calibrate(archive, "train", planet, 0, instrument)
    crop = slice(*(instrument.crop or (0, instrument.columns)))
    good = np.zeros((instrument.rows, instrument.columns), bool)
    good[:, crop] = ~np.ma.getmaskarray(theirs)[0]
    assert not good[:, crop].all()
    sums = theirs.sum((1, 2)) if instrument.crop is None else theirs.sum(1)[:, ::-1]
    scale = np.abs(sums).max(0)
    signal = archive.signal("train", planet, 0, instrument)
    counts = np.concatenate(list(signal.blocks()))
    detector = open_detector(archive, "train", planet, 0, instrument, signal.n_reads)
    samples = pipeline.reduce_reads(counts, detector, 0).signal * good
    composed = samples.sum((1, 2)) if instrument.crop is None else samples[:, :, crop].sum(1)[:, ::-1]
    np.testing.assert_allclose(composed / scale, sums / scale, rtol=0, atol=1e-9)
    flat_counts = np.ascontiguousarray(counts.reshape(len(counts), -1).T)
    curve, _ = fused.extract_pixels([(np.arange(instrument.pixels), flat_counts)], detector, plain_sum(instrument, good))
    np.testing.assert_allclose(curve.flux / scale, sums / scale, rtol=0, atol=1e-6)


def plain_sum(instrument, good) -> Plan:
    """Plan with weight 1 for every good pixel and without background."""
    extraction = ExtractionPlan(instrument, good.astype(float), np.zeros((3, *good.shape)), np.ones(instrument.columns, bool))
    no_background = BackgroundPlan(np.zeros((1, *good.shape)), np.ones((1, instrument.columns)), np.zeros((1, 1)))
    return Plan(~good, no_background, extraction)
