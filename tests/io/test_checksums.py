import json

import pytest

from ariel_lib.io.checksums import MANIFEST, verify, write_manifest
from ariel_lib.io.storage import StorageError


def test_a_file_is_used_only_with_the_bytes_that_the_manifest_lists(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    write_manifest(tmp_path, [path.name], {"made_by": "a test"})
    assert verify(path) == path
    assert json.loads((tmp_path / MANIFEST).read_text())["made_by"] == "a test"
    path.write_bytes(b"Weights")
    with pytest.raises(StorageError, match="expected SHA-256"):
        verify(path)


@pytest.mark.parametrize("text", ["", "{}", '{"files": {}}', '{"files": {"w": {}}}', '{"files": []}'])
def test_a_manifest_that_does_not_list_the_file_is_refused(tmp_path, text):
    (tmp_path / "w").write_bytes(b"1")
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(StorageError, match="expected the SHA-256 of w"):
        verify(tmp_path / "w")


def test_without_a_manifest_nothing_is_used(tmp_path):
    (tmp_path / "w").write_bytes(b"1")
    with pytest.raises(StorageError, match="make weights"):
        verify(tmp_path / "w")
    with pytest.raises(StorageError, match="no such file"):
        verify(tmp_path / "absent")
