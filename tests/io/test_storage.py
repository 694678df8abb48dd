"""ariel_lib.io.storage: a file is the old one or the new one, whatever happens while it is written."""

import pytest

from ariel_lib.io.storage import atomic_path, write_atomically


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = write_atomically(tmp_path / "new" / "file", b"old")
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary != path
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_after_an_exception_the_old_file_stays_and_nothing_beside_it(tmp_path):
    path = write_atomically(tmp_path / "file", b"old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
