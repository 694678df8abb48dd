"""ariel_lib.prediction.light_curves: what is on disk is read, the rest is calibrated in memory, and nothing is written."""

import shutil
from dataclasses import fields

import numpy as np
import pytest

from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import calibrate_split
from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import LightCurve
from ariel_lib.io.storage import StorageError
from ariel_lib.io.writer import write_wavelengths
from ariel_lib.prediction.light_curves import calibrate


@pytest.fixture
def data(small_frames, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_frames, root)
    write_wavelengths(root, spectrum_wavelengths())
    return root


def assert_same(one, other):
    assert [curves.visit for curves in one] == [curves.visit for curves in other]
    for first, second in zip(one, other):
        for f in fields(LightCurve):
            np.testing.assert_array_equal(getattr(first.airs, f.name), getattr(second.airs, f.name))
            np.testing.assert_array_equal(getattr(first.fgs1, f.name), getattr(second.fgs1, f.name))


def test_frames_give_what_the_command_writes_to_disk_and_nothing_is_written(data, tmp_path):
    dataset = Dataset(data, "train", scratch=tmp_path / "scratch")
    before = sorted(tmp_path.rglob("*"))
    found = calibrate(dataset, "11")
    assert sorted(tmp_path.rglob("*")) == before
    calibrate_split(dataset, CalibrationSettings())
    assert_same(found, dataset.light_curves("11"))
    assert len(found) == 2 and found.wavelength_um.shape == (283,)
    assert_same(calibrate(dataset, "11"), found)


def test_light_curves_on_disk_are_read_and_missing_visits_calibrated(data, tmp_path, monkeypatch):
    dataset = Dataset(data, "train", scratch=tmp_path / "scratch")
    calibrate_split(dataset, CalibrationSettings())
    whole = dataset.light_curves("11")
    dataset.light_curve_path("11", 0).unlink()
    assert_same(calibrate(dataset, "11"), whole)
    given = Dataset(data, "train", light_curves=dataset.light_curve_folder)  # a folder that was named holds all there is
    assert [curves.visit for curves in calibrate(given, "11")] == [1]


def test_kept_light_curves_of_other_frames_or_settings_are_not_read(data, tmp_path):
    dataset = Dataset(data, "train", planets=["23"], scratch=tmp_path / "scratch")
    calibrate_split(dataset, CalibrationSettings())
    kept = dataset.light_curves("23")[0].airs.flux
    assert len(calibrate(dataset, "23", settings=CalibrationSettings(airs_samples=4))[0].airs.time) == 4
    (data / "adc_info.csv").write_bytes((data / "adc_info.csv").read_bytes().replace(b"0.4369", b"0.8738"))
    again = Dataset(dataset.root, "train", scratch=tmp_path / "scratch")
    assert np.median(calibrate(again, "23")[0].airs.flux / kept) < 0.7
    with pytest.raises(StorageError, match="found those of others"):
        calibrate(Dataset(dataset.root, "train", light_curves=dataset.light_curve_folder), "23")


def test_settings_are_those_given(data):
    binned = calibrate(Dataset(data, "train"), "23", settings=CalibrationSettings(airs_samples=4))
    assert len(binned[0].airs.time) == 4 and len(calibrate(Dataset(data, "train"), "23")[0].airs.time) == 12


def test_an_unknown_planet_is_named(data):
    with pytest.raises(ArchiveError, match="99: expected a planet's folder, found no such folder"):
        calibrate(Dataset(data, "train"), "99")


def test_it_is_a_sequence_of_visits_with_a_short_representation(data):
    curves = calibrate(Dataset(data, "train"), "11")
    assert [visit.visit for visit in curves] == [0, 1] and curves[-1].visit == 1 and len(curves[:1]) == 1
    assert repr(curves) == "PlanetLightCurves(planet 11, 2 visits: 30 FGS1 and 12 AIRS samples, 30 FGS1 and 12 AIRS samples)"
    assert "<td>30</td>" in curves._repr_html_()
    assert len(curves.plot().axes) == 4
