"""Simulated data sets: Kaggle's layout, reproducible to the byte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, spectrum_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Spectra, list_light_curves
from ariel_lib.io.light_curves import LightCurve, load_light_curves
from ariel_lib.io.tables import read_spectra
from ariel_lib.io.writer import write_spectra
from ariel_lib.simulator import dataset
from ariel_lib.simulator.dataset import draw_planets, read_labels, simulate_dataset

REAL = Path(__file__).parents[2] / "../shared/data/adc2025"


@pytest.fixture(autouse=True)
def short_visits(monkeypatch):
    """Visits of 12 AIRS and 144 FGS1 samples."""
    monkeypatch.setattr(dataset, "FULL_SAMPLES", {FGS1.name: 144 * 25, AIRS.name: 12 * 25})


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_labels(path, n):
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.01, 0.02, (n, len(spectrum_wavelengths())))
    write_spectra(path, Spectra(tuple(str(100 + row) for row in range(n)), depth))
    return path


def light_curves(folder, split):
    """Every array under a folder of light curves, by (planet and visit, instrument, name)."""
    found = {}
    for path in (folder / "lightcurves" / split).glob("*.safetensors"):
        curves = load_light_curves(path)
        for name in ("fgs1", "airs"):
            arrays = {field: getattr(getattr(curves, name), field) for field in LightCurve.__dataclass_fields__}
            found |= {(path.stem, name, field): array.tobytes() for field, array in arrays.items()}
    return found


def test_simulate_dataset_writes_the_same_bytes_for_the_same_seed(tmp_path):
    for name in "ab":
        simulate_dataset(tmp_path / name, n_planets=1, n_test=0, seed=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_simulate_dataset_draws_the_same_light_curves_for_the_same_seed_only(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_dataset(tmp_path / name, n_planets=2, n_test=1, seed=seed, level="lightcurves")
    first, again, other = (light_curves(tmp_path / name, "train") for name in "abc")
    assert first == again and not set(first) & set(other)


def test_simulate_dataset_writes_all_files_that_archive_reads(tmp_path):
    done = []
    simulate_dataset(tmp_path, n_planets=2, n_test=1, seed=1, progress=lambda *step: done.append(step))
    assert done == [(1, 2), (2, 2)]
    archive = Archive(tmp_path)
    assert len(archive.planets("train")) == 1 and archive.planets("test") == archive.requested_planets()
    assert set(archive.planets("train")) == set(archive.labels("train").planet_ids)
    assert set(archive.planets("test")) == set(archive.labels("test").planet_ids)
    np.testing.assert_allclose(archive.wavelengths(), spectrum_wavelengths())
    truth = json.loads((tmp_path / "truth.json").read_text())["planets"]
    for planet in archive.planets("train"):
        np.testing.assert_allclose(archive.star("train", planet).P * 24, truth[planet]["orbit"]["period"])
        assert len(archive.visits("train", planet)) == len(truth[planet]["mid_transits"])
        for instrument, reads in ((AIRS, 24), (FGS1, 288)):
            signal = archive.signal("train", planet, 0, instrument)
            assert signal.n_reads == reads
            assert sum(len(block) for block in signal.blocks(50)) == reads
            assert len(archive.read_times(instrument, reads)[0]) == reads
            assert archive.calibration_maps("train", planet, 0, instrument).dead.any()


def test_simulate_dataset_draws_the_same_planet_for_any_number_of_planets(tmp_path):
    simulate_dataset(tmp_path / "few", n_planets=1, n_test=0, seed=5, level="lightcurves")
    simulate_dataset(tmp_path / "many", n_planets=3, n_test=1, seed=5, level="lightcurves")
    few, many = (light_curves(tmp_path / name, "train") for name in ("few", "many"))
    assert few and few.items() <= many.items()


def test_simulate_dataset_writes_light_curves_to_the_paths_of_calibration(tmp_path):
    simulate_dataset(tmp_path, n_planets=2, n_test=1, seed=1, level="lightcurves")
    for split in ("train", "test"):
        found = list_light_curves(tmp_path / "lightcurves", split)
        assert tuple(found) == Archive(tmp_path).labels(split).planet_ids
        planet = next(iter(found))
        curves = load_light_curves(tmp_path / "lightcurves" / split / f"{planet}_0.safetensors")
        assert curves.planet_id == planet
        assert curves.airs.flux.shape == (12, 282) and curves.fgs1.flux.shape == (144,)


def test_simulate_dataset_replaces_only_an_earlier_simulation(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    simulate_dataset(mine, n_planets=2, n_test=1, seed=1, level="lightcurves")
    simulate_dataset(mine, n_planets=1, n_test=0, seed=2, level="lightcurves")
    assert len(list(mine.rglob("*.safetensors"))) <= 2
    other.mkdir()
    (other / "notes.txt").write_text("not a simulation")
    with pytest.raises(ArchiveError, match="earlier simulation"):
        simulate_dataset(other, n_planets=1, n_test=0, seed=1)


def test_draw_planets_uses_no_label_in_both_train_and_test(tmp_path):
    labels = read_labels(write_labels(tmp_path / "train.csv", 10))
    planets = draw_planets(1, {"train": 7, "test": 3}, 1, (6, 11), labels)
    first = [planet.depth[0] for _, _, planet in planets]
    assert len(set(first)) == 10 and set(first) == set(labels.spectra.depth[:, 0])
    crowded = draw_planets(1, {"train": 30, "test": 3}, 1, (6, 11), labels)
    train, test = ({p.depth[0] for split, _, p in crowded if split == name} for name in ("train", "test"))
    assert not train & test and len(test) == 3


def test_draw_planets_shifts_the_nuisances_of_the_test_split_only():
    def draw(shifted):
        drawn = draw_planets(1, {"train": 60, "test": 60}, 1.0, (6, 11), None, shifted=shifted)
        return {split: [planet for its, _, planet in drawn if its == split] for split in ("train", "test")}

    def curvature_over_slope(planets):
        fgs1 = np.array([drift.fgs1 for planet in planets for drift in planet.drifts])
        return fgs1[:, 1].std() / fgs1[:, 0].std()

    alike, shifted = draw(False), draw(True)
    for a, b in zip(alike["train"], shifted["train"]):
        np.testing.assert_array_equal(a.limb_darkening, b.limb_darkening)
        np.testing.assert_array_equal(a.drifts[0].airs, b.drifts[0].airs)
    assert [planet.catalogue for planet in alike["test"]] == [planet.catalogue for planet in shifted["test"]]
    assert curvature_over_slope(shifted["test"]) > 1.1 > curvature_over_slope(alike["test"])
    u1 = {name: np.mean([planet.limb_darkening[1:, 0].mean() for planet in drawn["test"]]) for name, drawn in
          (("alike", alike), ("shifted", shifted))}  # fmt: skip
    assert u1["shifted"] > u1["alike"] + 0.01


def test_draw_planets_gives_distinct_ids():
    planets = draw_planets(1, {"train": 30, "test": 10}, 1, (6, 11), None)
    assert len({planet.planet_id for _, _, planet in planets}) == 40


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/adc2025")
def test_simulate_dataset_takes_labels_stars_and_maps_from_real_files(tmp_path):
    simulate_dataset(
        tmp_path, n_planets=1, n_test=0, seed=1, labels=REAL / "train.csv", calibration_from=REAL / "train/342072318"
    )
    source, copy = Archive(REAL), Archive(tmp_path)
    planet = copy.planets("train")[0]
    label, known = copy.labels("train").of([planet])[0], source.labels("train")
    row = int(np.argmin(np.abs(known.depth - label).sum(axis=1)))
    np.testing.assert_allclose(label, known.depth[row])
    assert copy.star("train", planet).Ts == source.star("train", known.planet_ids[row]).Ts
    for instrument in INSTRUMENTS.values():
        theirs, ours = (
            source.calibration_maps("train", "342072318", 0, instrument),
            copy.calibration_maps("train", planet, 0, instrument),
        )
        assert (theirs.flat == ours.flat).all() and (theirs.linearity == ours.linearity).all()


def test_simulate_dataset_raises_for_invalid_arguments_and_labels(tmp_path):
    with pytest.raises(ValueError, match="size"):
        simulate_dataset(tmp_path, n_planets=1, seed=1, size="huge")
    with pytest.raises(ValueError, match="level"):
        simulate_dataset(tmp_path, n_planets=1, seed=1, level="photons")
    with pytest.raises(ValueError, match="test split"):
        simulate_dataset(tmp_path, n_planets=1, seed=1, n_test=2)
    write_spectra(tmp_path / "short.csv", Spectra(("1",), np.full((1, 5), 0.01)))
    with pytest.raises(ArchiveError, match=r"short.csv.*5 wavelengths"):
        simulate_dataset(tmp_path / "out", n_planets=1, seed=1, labels=tmp_path / "short.csv")
    assert not (tmp_path / "out").exists()
    assert read_spectra(tmp_path / "short.csv").planet_ids == ("1",)
