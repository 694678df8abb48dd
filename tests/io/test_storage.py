"""ariel_lib.io.storage: a file is the old one or the new one, whatever happens while it is written."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ariel_lib.io.storage import atomic_path, locked, save_arrays, write_atomically


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = write_atomically(tmp_path / "new" / "file", b"old")
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary != path
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_text_is_written_as_utf8_and_what_is_not_utf8_is_escaped(tmp_path):
    assert write_atomically(tmp_path / "page", "Å caf\udce9\n").read_bytes() == "Å caf\\udce9\n".encode()


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


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    """write() itself gives no name, without which the command line prints a traceback."""
    with pytest.raises(OSError, match="No space left on device") as caught, atomic_path(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "file")) and not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_of_many_that_add_to_a_file_none_is_lost(tmp_path):
    path = write_atomically(tmp_path / "count", b"0")

    def add(_):
        with locked(tmp_path):
            count = int(path.read_bytes())
            time.sleep(0.01)
            write_atomically(path, str(count + 1).encode())

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(12)))
    assert path.read_bytes() == b"12" and list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_old_file_stays_and_nothing_beside_it(tmp_path):
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
