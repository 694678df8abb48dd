"""io.kaggle_inputs: inputs are found by a file in them, wherever Kaggle mounts them."""

import pytest

from ariel_lib.errors import ArchiveError
from ariel_lib.io.kaggle_inputs import find_input, take_up_session


@pytest.mark.parametrize("folder", ["some-slug", "datasets/owner/slug", "competitions/ariel-data-challenge-2025"])
def test_every_form_of_mount_is_found(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "wavelengths.csv").touch()
    assert find_input("wavelengths.csv", under=tmp_path) == tmp_path / folder


def test_the_folder_of_least_depth_is_taken(tmp_path):
    for folder in ("a/deep", "b"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.csv").touch()
    assert find_input("train.csv", under=tmp_path) == tmp_path / "b"


def test_a_missing_input_raises(tmp_path):
    with pytest.raises(ArchiveError, match=r"weights\.safetensors"):
        find_input("weights.safetensors", under=tmp_path / "nowhere")


def test_files_of_an_earlier_session_are_copied_without_overwriting(tmp_path):
    for folder, text in (("old", b"old"), ("new", b"new")):
        (tmp_path / folder / "estimates").mkdir(parents=True)
        (tmp_path / folder / "estimates" / "1.safetensors").write_bytes(text)
    (tmp_path / "old" / "state_0.safetensors").write_bytes(b"epochs")
    assert take_up_session(None, tmp_path / "new") == 0
    assert take_up_session(tmp_path / "old", tmp_path / "new") == 1
    assert (tmp_path / "new" / "state_0.safetensors").read_bytes() == b"epochs"
    assert (tmp_path / "new" / "estimates" / "1.safetensors").read_bytes() == b"new"
