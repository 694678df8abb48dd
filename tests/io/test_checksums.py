"""io.checksums: a file is verified by its SHA-256 in the manifest."""

import json

import pytest

from ariel_lib.io.checksums import MANIFEST, verify, write_manifest
from ariel_lib.io.storage import StorageError


def test_verify_accepts_only_the_content_listed_in_the_manifest(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    write_manifest(tmp_path, [path.name], {"made_by": "a test"})
    assert verify(path) == path
    assert json.loads((tmp_path / MANIFEST).read_text())["made_by"] == "a test"
    path.write_bytes(b"Weights")
    with pytest.raises(StorageError, match="expected SHA-256"):
        verify(path)


@pytest.mark.parametrize("text", ["", "{}", '{"files": {}}', '{"files": {"w": {}}}', '{"files": []}'])
def test_a_manifest_without_the_file_raises(tmp_path, text):
    (tmp_path / "w").write_bytes(b"1")
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(StorageError, match="expected the SHA-256 of w"):
        verify(tmp_path / "w")


def test_a_missing_manifest_or_file_raises(tmp_path):
    (tmp_path / "w").write_bytes(b"1")
    with pytest.raises(StorageError, match="make weights"):
        verify(tmp_path / "w")
    with pytest.raises(StorageError, match="no such file"):
        verify(tmp_path / "absent")
