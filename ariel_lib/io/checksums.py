"""What a folder of artifacts holds: names, sizes and SHA-256 in manifest.json, checked before a file is used.

Knows bytes, not what they mean.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ariel_lib.io.storage import StorageError, write_atomically

MANIFEST = "manifest.json"


def sha256(path: Path | str) -> str:
    """Hexadecimal digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path | str, names: Iterable[str], facts: Mapping[str, object] | None = None) -> Path:
    """List the named files of the folder, and facts about them, in its manifest."""
    folder = Path(folder)
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in sorted(names)}
    text = json.dumps({"files": files, **(facts or {})}, indent=1, sort_keys=True)
    return write_atomically(folder / MANIFEST, f"{text}\n".encode())


def verify(path: Path | str) -> Path:
    """The same path, if the manifest beside the file lists it with these very bytes. Raises StorageError otherwise."""
    path = Path(path)
    manifest = path.parent / MANIFEST
    if not path.is_file():
        raise StorageError(f"{path}: no such file")
    if not manifest.is_file():
        raise StorageError(f"{path}: expected {MANIFEST} beside it, found none. `make weights` writes both.")
    try:
        wanted = json.loads(manifest.read_bytes())["files"][path.name]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{manifest}: expected the SHA-256 of {path.name}, found none") from error
    found = sha256(path)
    if found != wanted:
        raise StorageError(f"{path}: expected SHA-256 {wanted}, found {found}. The file is not the one that was released.")
    return path
