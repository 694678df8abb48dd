"""io.dataset: planets, the rule for the light-curve folder, immutability and errors."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra, Star, light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.writer import write_spectra, write_stars, write_wavelengths

STAR = Star("12", 1.1, 1.0, 5700.0, 1.2, 0.0, 4.5, 10.2, 88.8)
CURVE = LightCurve(*(np.zeros((4, *more)) for more in ((), (), (), (), (2,), ())), np.zeros(4, bool))


def write_curves(folder, split, planet, *visits):
    for visit in visits:
        save_light_curves(light_curves_path(folder, split, planet, visit), LightCurves(planet, visit, CURVE, CURVE))


def test_labels_with_another_number_of_wavelengths_raise(tmp_path):
    write_wavelengths(tmp_path, np.array([0.7, 1.95, 2.5]))
    write_spectra(tmp_path / "train.csv", Spectra(("12",), np.full((1, 2), 0.01)))
    with pytest.raises(ArchiveError, match=r"train.csv: expected wl_1 … wl_3 as in wavelengths.csv, found 2 wavelengths"):
        Dataset(tmp_path, "train").labels()


@pytest.fixture
def root(tmp_path):
    """A data set with planets 12 and 7 in both splits, whose signal files are empty."""
    for split in ("train", "test"):
        for planet in ("12", "7"):
            (tmp_path / "data" / split / planet).mkdir(parents=True)
            (tmp_path / "data" / split / planet / "FGS1_signal_0.parquet").touch()
    write_wavelengths(tmp_path / "data", np.linspace(0.7, 3.9, 5))
    write_stars(tmp_path / "data", "test", [STAR])
    write_spectra(tmp_path / "data" / "train.csv", Spectra(("12",), np.full((1, 5), 0.01)))
    return tmp_path / "data"


def test_planets_are_selected_else_requested_else_on_disk(root):
    assert Dataset(root, "train").planets == ("7", "12")
    assert Dataset(root).planets == ("7", "12")
    (root / "sample_submission.csv").write_text("planet_id,wl_1,sigma_1\n12,0.01,0.01\n99,0.01,0.01\n")
    assert Dataset(root).planets == ("12", "99") and Dataset(root).on_disk == ("7", "12")
    assert Dataset(root, "train").planets == ("7", "12"), "a sample submission concerns the test split only"
    assert Dataset(root, planets=["7"]).planets == ("7",) == Dataset(root).select(["7"]).planets


def test_without_frames_the_planets_are_those_with_light_curves(root, tmp_path):
    write_curves(tmp_path / "curves", "train", "5", 1, 0)
    write_curves(tmp_path / "curves", "train", "40", 0)
    bare = tmp_path / "bare"
    bare.mkdir()
    dataset = Dataset(bare, "train", light_curves=tmp_path / "curves")
    assert dataset.planets == ("5", "40") and dataset.light_curve_visits == {"5": (0, 1), "40": (0,)}
    assert [curves.visit for curves in dataset.light_curves("5")] == [0, 1] and dataset.light_curves("4") == []


def test_light_curve_folder_is_given_else_beside_the_data_else_in_scratch(root, tmp_path):
    scratch, given = tmp_path / "scratch", tmp_path / "given"
    assert Dataset(root).light_curve_folder == root / "lightcurves"
    dataset = Dataset(root, scratch=scratch)
    assert dataset.light_curve_folder == scratch / "lightcurves" and dataset.is_calibrated_on_demand
    write_curves(root / "lightcurves", "train", "12", 0)
    assert Dataset(root, scratch=scratch).is_calibrated_on_demand, "light curves of the other split do not count"
    write_curves(root / "lightcurves", "test", "12", 0)
    dataset = Dataset(root, scratch=scratch)
    assert dataset.light_curve_folder == root / "lightcurves" and not dataset.is_calibrated_on_demand
    dataset = Dataset(root, light_curves=given, scratch=scratch)
    assert dataset.light_curve_folder == given and not dataset.is_calibrated_on_demand
    assert not Dataset(root, light_curves=scratch / "lightcurves", scratch=scratch).is_calibrated_on_demand


def test_a_modified_copy_differs_in_one_attribute_only(root, tmp_path):
    dataset = Dataset(root, planets=["7"], light_curves=tmp_path / "given", scratch=tmp_path / "scratch")
    assert dataset.planets == ("7",)  # cached before the copies are made
    train = dataset.with_split("train")
    assert (train.split, train.selected, train.given_curves, train.scratch) == ("train", None, tmp_path / "given", tmp_path / "scratch")
    assert dataset.with_scratch(tmp_path / "other").fit_path("7") == tmp_path / "other" / "estimates" / "test" / "7.safetensors"
    assert dataset.select(["12"]).planets == ("12",) and dataset.planets == ("7",)
    assert dataset == Dataset(root, planets=["7"], light_curves=tmp_path / "given", scratch=tmp_path / "scratch") != train
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    with pytest.raises(AttributeError):
        dataset.split = "train"


def test_find_star_gives_the_star_or_the_reason(root):
    dataset = Dataset(root)
    assert dataset.star("12") == STAR == dataset.find_star("12")[0]
    star, wrong = dataset.find_star("7")
    assert star is None and "one row of planet 7" in wrong
    write_stars(root, "test", [replace(STAR, Mp=float("nan"), e=float("nan"))])
    star, wrong = Dataset(root).find_star("12")
    assert (star.P, star.missing) == (STAR.P, ("Mp", "e")) and wrong == "the star table has no usable Mp, e"
    assert Dataset(root, "train").find_star("12") == (None, None), "no star table, as in 2024"


def test_invalid_arguments_raise(root, tmp_path):
    with pytest.raises(ArchiveError, match="no such folder"):
        Dataset(tmp_path / "nowhere")
    with pytest.raises(SpectraMindError, match="expected one of train, test, found 'toy'"):
        Dataset(root, "toy")
    with pytest.raises(SpectraMindError, match="expected a scratch folder"):
        Dataset(root).fit_path("7")
    for planet in ("../7", "", ".."):
        with pytest.raises(SpectraMindError, match="plain name"):
            Dataset(root, scratch=tmp_path).fit_path(planet)
