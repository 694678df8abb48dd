"""ariel_lib.io.storage: a file is the old one or the new one, whatever happens while it is written."""

import os

import numpy as np
import pytest

from ariel_lib.io.storage import atomic_path, save_arrays, write_atomically


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = write_atomically(tmp_path / "new" / "file", b"old")
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary != path
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_has_the_permissions_that_the_umask_leaves_and_needs_no_chmod(tmp_path, monkeypatch, mask, mode):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")  # as CIFS and some FUSE file systems do

    for name in ("chmod", "fchmod", "chown", "fchown"):
        monkeypatch.setattr(os, name, refuse)
    before = os.umask(mask)
    try:
        path = save_arrays(tmp_path / "new" / "file.safetensors", {"a": np.ones(2)}, {"b": "c"})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_after_an_exception_the_old_file_stays_and_nothing_beside_it(tmp_path):
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
