"""io.kaggle_inputs: inputs are found by a file in them, wherever Kaggle mounts them."""

import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.kaggle_inputs import find_input, take_up_session


@pytest.mark.parametrize("folder", ["some-slug", "datasets/owner/slug", "competitions/ariel-data-challenge-2025"])
def test_every_form_of_mount_is_found(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "wavelengths.csv").touch()
    assert find_input("wavelengths.csv", under=tmp_path) == tmp_path / folder


def attach(root, *folders):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "train.csv").touch()


@pytest.mark.parametrize("folders", [("a", "b"), ("a/deep", "b"), ("datasets/me/a", "competitions/b")])
def test_several_inputs_with_the_file_raise_with_a_list_unless_one_has_the_name(tmp_path, folders):
    attach(tmp_path, *folders)
    for prefer in ("", "c"):
        with pytest.raises(ArchiveError) as raised:
            find_input("train.csv", under=tmp_path, prefer=prefer)
        assert all(str(tmp_path / folder) in str(raised.value) for folder in folders)
    assert find_input("train.csv", under=tmp_path, prefer="b") == tmp_path / folders[1]


def test_the_files_inside_an_input_are_its_own(tmp_path):
    attach(tmp_path, "a", "a/earlier")
    assert find_input("train.csv", under=tmp_path) == tmp_path / "a"


def test_a_missing_input_raises(tmp_path):
    with pytest.raises(ArchiveError, match=r"weights\.safetensors"):
        find_input("weights.safetensors", under=tmp_path / "nowhere")


def test_files_of_an_earlier_session_are_copied_without_overwriting(tmp_path):
    for folder, text in (("old", b"old"), ("new", b"new")):
        (tmp_path / folder / "estimates" / "train").mkdir(parents=True)
        (tmp_path / folder / "estimates" / "train" / "1.safetensors").write_bytes(text)
    (tmp_path / "old" / "state_0.safetensors").write_bytes(b"epochs")
    assert take_up_session(None, tmp_path / "new") == 0
    assert take_up_session(tmp_path / "old", tmp_path / "new") == 1
    assert (tmp_path / "new" / "state_0.safetensors").read_bytes() == b"epochs"
    assert (tmp_path / "new" / "estimates" / "train" / "1.safetensors").read_bytes() == b"new"


def test_a_folder_above_below_or_beside_that_of_an_earlier_session_is_refused(tmp_path):
    fits = tmp_path / "output" / "v50" / "estimates" / "train"
    fits.mkdir(parents=True)
    (fits / "1.safetensors").touch()
    (tmp_path / "empty").mkdir()
    for wrong, found in (("outptu", "no such folder"), ("empty", "a folder without them"), ("output", tmp_path / "output" / "v50"),
                         ("output/v50/estimates", "a folder without them")):  # fmt: skip
        with pytest.raises(ArchiveError, match=f"earlier session, with fits, light curves or weights, found {found}"):
            take_up_session(tmp_path / wrong, tmp_path / "new")
    assert not (tmp_path / "new").exists()
