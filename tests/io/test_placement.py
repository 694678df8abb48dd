"""io.archive: folders that systems leave are no planets, and data a level too high or too deep are found and named."""

import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.archive import Archive
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.kaggle_inputs import find_input
from ariel_lib.io.layout import list_light_curves

LEFT_BEHIND = (
    "Thumbs.db.d", "desktop.ini", "New Folder", "._7", ".ipynb_checkpoints", "__MACOSX", "@eaDir", ".DS_Store", ".Trash-0", "$RECYCLE.BIN",
    "#recycle", "lost+found",
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """A data set of names only: planets 7 and 12 in tmp_path/ariel/data."""
    root = tmp_path / "ariel" / "data"
    for planet in ("12", "7"):
        (root / "train" / planet).mkdir(parents=True)
        (root / "train" / planet / "FGS1_signal_0.parquet").touch()
    (root / "axis_info.parquet").touch()
    return root


def test_what_systems_leave_behind_is_no_planet(data):
    for name in LEFT_BEHIND:
        (data / "train" / name).mkdir()
    (data / "train" / "12" / "._FGS1_signal_1.parquet").touch()
    (data / "train" / "New Folder" / "._FGS1_signal_0.parquet").touch()
    (data / "train" / "Thumbs.db").touch()
    archive = Archive(data)
    assert archive.planets("train") == ("7", "12")
    assert archive.ignored("train") == ("New Folder", "Thumbs.db.d", "desktop.ini")
    assert archive.visits("train", "12") == (0,)


def test_a_folder_without_signals_is_a_planet_where_the_star_table_lists_it(data):
    (data / "train" / "31").mkdir()
    (data / "train" / "32").mkdir()
    (data / "train_star_info.csv").write_text("planet_id,Rs\n31,1.0\n40,1.0\n")
    assert Archive(data).planets("train") == ("7", "12", "31")
    assert Archive(data).ignored("train") == ("32",)


@pytest.mark.parametrize(("given", "there"), [("..", ""), ("../..", ""), ("test", ""), ("missing", ""), ("other", "other/deep")])
def test_light_curves_a_level_too_high_or_too_deep_are_named(data, tmp_path, given, there):
    right = tmp_path / "made" / "curves"
    (right / there / "test").mkdir(parents=True)
    (right / there / "test" / "7_0.safetensors").touch()
    Dataset(data, "test", light_curves=right / there).require_light_curves()
    with pytest.raises(ArchiveError, match=rf"expected light curves .*--split test`, found .* under {right / there}: give that folder."):
        Dataset(data, "test", light_curves=right / given).require_light_curves()


def test_light_curves_of_the_other_split_are_none(data, tmp_path):
    (tmp_path / "curves/train").mkdir(parents=True)
    (tmp_path / "curves/train/7_0.safetensors").touch()
    with pytest.raises(ArchiveError, match=r"curves/test: expected light curves .* found no such folder.$"):
        Dataset(data, "test", light_curves=tmp_path / "curves").require_light_curves()


def test_light_curves_of_hidden_names_are_no_planets(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("7_0", "._7_0", ".12_1"):
        (tmp_path / "train" / f"{name}.safetensors").touch()
    assert list_light_curves(tmp_path, "train") == {"7": (0,)}


def test_an_unpacked_archive_of_a_mac_is_no_input(tmp_path):
    for folder in ("__MACOSX/a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "marker.csv").touch()
    assert find_input("marker.csv", under=tmp_path) == tmp_path / "b/c"


@pytest.mark.parametrize("given", ["..", "../..", "train", "train/12"])
def test_data_a_level_too_high_or_too_deep_are_named(data, given):
    (data / "train" / "12" / "AIRS-CH0_calibration_0").mkdir()
    archive = Archive(data / given)
    for ask in (lambda: archive.require_planets("train"), archive.wavelengths, lambda: archive.labels("train")):
        with pytest.raises(ArchiveError, match=rf"The data set seems to be {data}: give that folder."):
            ask()


def test_a_split_that_is_not_there_is_named_without_a_guess(data):
    with pytest.raises(ArchiveError, match=r"data/test: expected planets, one folder each .* found no such folder.$"):
        Archive(data).require_planets("test")
    (data / "test").mkdir()
    with pytest.raises(ArchiveError, match=r"found no folder of a planet.$"):
        Archive(data).require_planets("test")


def test_planets_a_level_too_deep_in_a_split_are_named(data):
    (data / "train").rename(data / "unpacked")
    (data / "train").mkdir()
    (data / "unpacked").rename(data / "train" / "train")
    with pytest.raises(ArchiveError, match=r"train/train: .*no signal file. There are some in .*train/train/12: planets are folders"):
        Archive(data).visits("train", "train")
    with pytest.raises(ArchiveError, match=r"/train: expected planets.* found none in train. There are some in .*train/train/12: planets"):
        Archive(data).require_planets("train")
