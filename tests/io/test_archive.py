"""io.archive and io.writer: round trips in both years' layouts; every malformed file raises an error that names it."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import AIRS, FGS1, FGS1_INTEGRATION_TIMES, INSTRUMENTS, airs_wavelengths, spectrum_wavelengths
from ariel_lib.io import writer
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import CalibrationMaps, Converter, Spectra, Star, normalise_planet_id

SHARED = Path(__file__).parents[2] / "../shared/data"
STAR = Star("12", 1.1, 1.0, 5700.0, 1.2, 0.0, 4.5, 10.2, 88.8)
READS = 10


def counts(instrument):
    return np.random.default_rng(1).integers(0, 2**16, (READS, instrument.rows, instrument.columns), dtype=np.uint16)


def maps(instrument):
    rng, shape = np.random.default_rng(2), (instrument.rows, instrument.columns)
    return CalibrationMaps(
        rng.random(shape), rng.random(shape), rng.random(shape), rng.random(shape) < 0.1, rng.random((6, *shape))
    )


def write_visit(root, planet, visit):
    for instrument in INSTRUMENTS.values():
        writer.write_signal(root, "train", planet, visit, instrument, [counts(instrument)[:4], counts(instrument)[4:]])
        writer.write_calibration_maps(root, "train", planet, visit, instrument, maps(instrument))


def write_tables(root):
    writer.write_axis(root, np.arange(READS) / 1500, np.tile([0.1, 4.5], READS // 2), np.arange(READS) / 18000, airs_wavelengths())
    writer.write_stars(root, "train", [STAR])
    writer.write_spectra(root / "train.csv", Spectra(("12",), np.full((1, 283), 0.01)))
    writer.write_converters(root, {FGS1.name: Converter(0.5, -900.0), AIRS.name: Converter(0.4, -1000.0)})
    writer.write_wavelengths(root, spectrum_wavelengths())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A data set with planet 12, two visits."""
    root = tmp_path_factory.mktemp("archive")
    for visit in (0, 1):
        write_visit(root, "12", visit)
    write_tables(root)
    return root


@pytest.fixture
def tables(tmp_path):
    """Tables of a data set, for a test to modify."""
    write_tables(tmp_path)
    return tmp_path


@pytest.fixture
def broken(pristine, tmp_path):
    """A data set whose detector files are symbolic links, for a test to replace."""
    write_tables(tmp_path)
    for path in (pristine / "train").rglob("*.parquet"):
        link = tmp_path / path.relative_to(pristine)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return tmp_path


def replace_file(path, content=None):
    path.unlink()
    if content is not None:
        path.write_bytes(content)


# Round trips


@pytest.mark.parametrize("instrument", INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_signal_and_maps_are_read_as_written(pristine, instrument):
    archive = Archive(pristine)
    for visit in archive.visits("train", "12"):
        signal = archive.signal("train", "12", visit, instrument)
        assert signal.n_reads == READS
        blocks = list(signal.blocks(4))
        assert [len(block) for block in blocks] == [4, 4, 2] and blocks[0].dtype == np.uint16
        assert (np.concatenate(blocks) == counts(instrument)).all()
        found, written = archive.calibration_maps("train", "12", visit, instrument), maps(instrument)
        for name in CalibrationMaps.__dataclass_fields__:
            assert (getattr(found, name) == getattr(written, name)).all(), name


def test_blocks_reads_only_the_given_columns(pristine):
    (block,) = Archive(pristine).signal("train", "12", 0, AIRS).blocks(100, columns=(40, 60))
    assert (block == counts(AIRS)[:, :, 40:60]).all()


def test_write_signal_is_independent_of_the_block_size(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 2 * FGS1.pixels * 3)  # three reads a row group
    written = []
    for number, size in enumerate((1, 4, READS)):
        blocks = [counts(FGS1)[start : start + size] for start in range(0, READS, size)]
        written.append(writer.write_signal(tmp_path, "train", "1", number, FGS1, iter(blocks)).read_bytes())
    assert written[0] == written[1] == written[2]
    (block,) = Archive(tmp_path).signal("train", "1", 0, FGS1).blocks(100)
    assert (block == counts(FGS1)).all()


def test_tables_are_read_as_written(tables):
    archive = Archive(tables)
    assert archive.star("train", "12") == STAR
    assert archive.converter("train", "12", AIRS) == Converter(0.4, -1000.0)
    assert archive.converter("train", "12", FGS1) == Converter(0.5, -900.0)
    assert archive.labels("train").planet_ids == ("12",) and (archive.labels("train").depth == 0.01).all()
    np.testing.assert_allclose(archive.wavelengths(), spectrum_wavelengths())
    np.testing.assert_allclose(archive.column_wavelengths(), airs_wavelengths())
    time, integration = archive.read_times(AIRS, READS)
    assert time.tolist() == (np.arange(READS) / 1500).tolist() and integration.tolist() == [0.1, 4.5] * (READS // 2)
    assert archive.read_times(FGS1, READS)[1].tolist() == list(FGS1_INTEGRATION_TIMES) * (READS // 2)


def test_planets_and_visits_are_in_numeric_order(pristine, tmp_path):
    for planet in ("100", "20", "3"):
        (tmp_path / "test" / planet).mkdir(parents=True)
        (tmp_path / "test" / planet / "AIRS-CH0_signal.parquet").touch()
    assert Archive(tmp_path).planets("test") == ("3", "20", "100")
    assert Archive(tmp_path).requested_planets() == ("3", "20", "100")
    assert Archive(tmp_path).planets("train") == ()
    assert Archive(pristine).visits("train", "12") == (0, 1)


def test_requested_planets_come_from_the_sample_submission(tmp_path):
    (tmp_path / "sample_submission.csv").write_text("planet_id,wl_1,sigma_1\n7.0,0,0\n5,0,0\n")
    assert Archive(tmp_path).requested_planets() == ("7", "5")


def test_spectra_of_an_unknown_planet_raise_key_error():
    spectra = Spectra(("1", "2"), np.array([[0.1], [0.2]]))
    assert spectra.of(["2", "1"]).ravel().tolist() == [0.2, 0.1]
    with pytest.raises(KeyError, match="9"):
        spectra.of(["9"])


def test_normalise_planet_id_accepts_every_spelling():
    assert {normalise_planet_id(value) for value in (1103775, 1103775.0, "1103775.0", " 1103775")} == {"1103775"}


# The layout of 2024: no visit number, one converter for each planet, no star table


def test_layout_of_2024_is_read(tmp_path):
    write_visit(tmp_path, "12", 0)
    folder = tmp_path / "train/12"
    for name in INSTRUMENTS:
        (folder / f"{name}_signal_0.parquet").rename(folder / f"{name}_signal.parquet")
        (folder / f"{name}_calibration_0").rename(folder / f"{name}_calibration")
    columns = [f"{name}_adc_{what}" for name in INSTRUMENTS for what in ("gain", "offset")]
    pd.DataFrame([["12", 0.9, -300.0, 1.5, -400.0, 1]], columns=["planet_id", *columns, "star"]).to_csv(
        tmp_path / "train_adc_info.csv", index=False
    )
    writer.write_spectra(tmp_path / "train_labels.csv", Spectra(("12",), np.full((1, 283), 0.01)))
    archive = Archive(tmp_path)
    assert archive.visits("train", "12") == (0,)
    assert archive.signal("train", "12", 0, FGS1).n_reads == READS
    assert archive.calibration_maps("train", "12", 0, AIRS).flat.shape == (32, 356)
    assert archive.converter("train", "12", AIRS) == Converter(1.5, -400.0)
    assert archive.star("train", "12") is None
    assert archive.labels("train").planet_ids == ("12",)
    with pytest.raises(ArchiveError, match=r"train_adc_info.csv.*planet 13"):
        archive.converter("train", "13", AIRS)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_real_tables_of_both_years_are_read():
    archive = Archive(SHARED / "adc2025")
    assert archive.labels("train").depth.shape == (881, 283)
    assert archive.star("test", "1103775").Ts == pytest.approx(5539.03, abs=0.01)
    np.testing.assert_allclose(archive.column_wavelengths(), airs_wavelengths(), atol=1e-10)
    old = Archive(SHARED / "adc2024")
    planet = old.labels("train").planet_ids[0]
    assert old.converter("train", planet, FGS1).gain > 0


# Bad input


def test_missing_folder_raises(tmp_path):
    with pytest.raises(ArchiveError, match=r"nowhere.*no such folder"):
        Archive(tmp_path / "nowhere")
    with pytest.raises(ArchiveError, match="train/99"):
        Archive(tmp_path).visits("train", "99")
    with pytest.raises(ArchiveError, match="a planet's folder"):
        Archive(tmp_path).visits("train", "../train")


def test_truncated_signal_raises(broken):
    path = broken / "train/12/FGS1_signal_0.parquet"
    content = path.read_bytes()
    replace_file(path, content[: len(content) // 2])
    with pytest.raises(ArchiveError, match=r"FGS1_signal_0.parquet.*readable parquet"):
        Archive(broken).signal("train", "12", 0, FGS1)


def test_damaged_signal_raises(broken):
    path = broken / "train/12/FGS1_signal_0.parquet"
    content = bytearray(path.read_bytes())
    content[4:4000] = bytes(3996)  # the first pages; the footer is whole
    replace_file(path, bytes(content))
    with pytest.raises(ArchiveError, match=r"FGS1_signal_0.parquet.*readable parquet"):
        list(Archive(broken).signal("train", "12", 0, FGS1).blocks())


def test_missing_signal_and_maps_raise(broken):
    replace_file(broken / "train/12/FGS1_signal_0.parquet")
    replace_file(broken / "train/12/AIRS-CH0_calibration_0/dark.parquet")
    archive = Archive(broken)
    with pytest.raises(ArchiveError, match=r"FGS1_signal_0.parquet.*no such file"):
        archive.signal("train", "12", 0, FGS1)
    with pytest.raises(ArchiveError, match=r"AIRS-CH0_calibration_0/dark.parquet.*no such file"):
        archive.calibration_maps("train", "12", 0, AIRS)


def test_wrong_pixel_count_raises(broken):
    archive = Archive(broken)
    signal = broken / "train/12/FGS1_signal_0.parquet"
    replace_file(signal)
    pd.DataFrame(np.zeros((4, 1000), np.uint16), columns=[f"column_{n}" for n in range(1000)]).to_parquet(signal)
    with pytest.raises(ArchiveError, match=r"FGS1_signal_0.parquet: expected 1024 pixel columns.*found 1000"):
        archive.signal("train", "12", 0, FGS1)
    flat = broken / "train/12/FGS1_calibration_0/flat.parquet"
    replace_file(flat)
    pd.DataFrame(np.zeros((31, 32))).rename(columns=str).to_parquet(flat)
    with pytest.raises(ArchiveError, match=r"flat.parquet: expected 32 rows x 32 columns, found 31 x 32"):
        archive.calibration_maps("train", "12", 0, FGS1)


def test_counts_that_are_not_uint16_or_too_few_raise(broken):
    path = broken / "train/12/FGS1_signal_0.parquet"
    for array, message in (
        (np.zeros((4, 1024)), "uint16 counts"),
        (np.zeros((1, 1024), np.uint16), "at least one pair"),
    ):
        replace_file(path)
        pd.DataFrame(array, columns=[f"column_{n}" for n in range(1024)]).to_parquet(path)
        with pytest.raises(ArchiveError, match=f"FGS1_signal_0.parquet.*{message}"):
            Archive(broken).signal("train", "12", 0, FGS1)


def test_a_value_that_the_star_table_lacks_is_nan_and_the_others_are_read(tables):
    path = tables / "train_star_info.csv"
    table = pd.read_csv(path)
    lacking = {"Ts": table.assign(Ts=np.nan), "sma": table.assign(sma=-1.0), "P": table.assign(P="soon"), "i": table.drop(columns="i")}
    for name, changed in lacking.items():
        changed.to_csv(path, index=False)
        star = Archive(tables).star("train", "12")
        assert star.missing == (name,) and replace(star, **{name: getattr(STAR, name)}) == STAR


def test_a_planet_needs_one_row_of_the_star_table(tables):
    with pytest.raises(ArchiveError, match=r"test_star_info.csv.*planet 13"):
        writer.write_stars(tables, "test", [STAR])
        Archive(tables).star("test", "13")


def test_labels_of_another_data_set_raise_and_one_missing_star_row_does_not(tables):
    labels, stars = Spectra(("12", "77"), np.full((2, 283), 0.01)), tables / "train_star_info.csv"
    writer.write_spectra(tables / "train.csv", labels)
    assert Archive(tables).labels("train").planet_ids == ("12", "77")
    table = pd.read_csv(stars)
    table.assign(planet_id=[99] * len(table)).to_csv(stars, index=False)
    with pytest.raises(ArchiveError, match=r"train.csv.*planets that train_star_info.csv lists, found none of them, such as 12, 77"):
        Archive(tables).labels("train")


def test_labels_with_gaps_or_repeats_raise(tables):
    path = tables / "train.csv"
    writer.write_spectra(path, Spectra(("12",), np.array([[0.01, np.nan]])))
    with pytest.raises(ArchiveError, match=r"train.csv.*NaN for planet 12"):
        Archive(tables).labels("train")
    writer.write_spectra(path, Spectra(("12", "12"), np.full((2, 2), 0.01)))
    with pytest.raises(ArchiveError, match=r"train.csv.*planet 12 more than once"):
        Archive(tables).labels("train")
    path.write_text("planet_id,wl_1,wl_3\n12,0.1,0.1\n")
    with pytest.raises(ArchiveError, match=r"train.csv.*without a gap"):
        Archive(tables).labels("train")
    path.write_text("name,wl_1\n12,0.1\n")
    with pytest.raises(ArchiveError, match=r"train.csv.*column planet_id"):
        Archive(tables).labels("train")


def test_bad_wavelengths_raise(tables):
    writer.write_wavelengths(tables, np.array([2.0, 1.0]))
    with pytest.raises(ArchiveError, match=r"wavelengths.csv.*ascending"):
        Archive(tables).wavelengths()


def test_bad_converter_raises(tables):
    writer.write_converters(tables, {name: Converter(0.0, -1000.0) for name in INSTRUMENTS})
    with pytest.raises(ArchiveError, match=r"adc_info.csv.*positive, finite gain"):
        Archive(tables).converter("train", "12", AIRS)


def test_damaged_axis_raises(tables):
    (tables / "axis_info.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ArchiveError, match=r"axis_info.parquet.*readable"):
        Archive(tables).read_times(AIRS, 2)
    (tables / "axis_info.parquet").unlink()
    with pytest.raises(ArchiveError, match=r"axis_info.parquet.*no such file"):
        Archive(tables).read_times(AIRS, 2)


def test_archive_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ArchiveError("a.csv", "numbers", "letters", "Look again.")))
    assert isinstance(error, ArchiveError) and error.path == "a.csv"
    assert str(error) == "a.csv: expected numbers, found letters. Look again."
