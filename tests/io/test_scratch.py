"""io.scratch: the scratch folder of a session is the same for the same output, private, and never another's."""

import os
import stat
import tempfile

import pytest

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.scratch import remove_scratch, session_scratch


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_an_output_has_one_private_folder_outside_it(temporary, monkeypatch):
    work = temporary / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    folder = session_scratch("submission.csv")
    (folder / "kept").touch()
    assert folder.parent == temporary and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert session_scratch(work / "submission.csv") == folder and (folder / "kept").is_file()
    other = session_scratch(temporary / "submission.csv")
    assert other != folder
    remove_scratch("submission.csv")
    remove_scratch("submission.csv")
    assert other.is_dir() and not folder.exists()


@pytest.mark.parametrize("other", ["a file", "a link", "another user's"])
def test_a_name_that_is_taken_is_refused(temporary, monkeypatch, other):
    folder = session_scratch("submission.csv")
    if other == "another user's":
        if os.getuid():
            pytest.skip("only root can give a folder away")
        os.chown(folder, 12345, -1)
    else:
        folder.rmdir()
        folder.touch() if other == "a file" else folder.symlink_to(temporary)
    with pytest.raises(SpectraMindError, match="expected a folder of this user"):
        session_scratch("submission.csv")
