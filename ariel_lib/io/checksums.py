"""SHA-256 manifests: names, sizes and digests of a folder's files in manifest.json, and their verification before use."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ariel_lib.io.storage import StorageError, write_atomically

MANIFEST = "manifest.json"


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_noting(path: Path | str, digests: dict[Path, str] | None) -> bytes:
    """The content of a file, opened once; its SHA-256 is added to `digests`, path → SHA-256, if given."""
    path = Path(path)
    content = path.read_bytes()
    if digests is not None:
        digests[path] = hashlib.sha256(content).hexdigest()
    return content


def write_manifest(folder: Path | str, names: Iterable[str], facts: Mapping[str, object] | None = None) -> Path:
    """Write manifest.json of a folder: size and SHA-256 of the named files, and further entries `facts`."""
    folder = Path(folder)
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in sorted(names)}
    text = json.dumps({"files": files, **(facts or {})}, indent=1, sort_keys=True)
    return write_atomically(folder / MANIFEST, f"{text}\n")


def verify(path: Path | str) -> Path:
    """Check a file against the manifest beside it; returns its path. Raises StorageError if the SHA-256 differs or is not listed."""
    path = Path(path)
    manifest = path.parent / MANIFEST
    if not path.is_file():
        raise StorageError(f"{path}: no such file")
    if not manifest.is_file():
        raise StorageError(f"{path}: expected {MANIFEST} beside it, found none. `train` and `make weights` write both: copy both.")
    try:
        wanted = json.loads(manifest.read_bytes())["files"][path.name]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{manifest}: expected the SHA-256 of {path.name}, found none") from error
    found = sha256(path)
    if found != wanted:
        raise StorageError(f"{path}: expected SHA-256 {wanted}, found {found}. The file has changed since the manifest was written.")
    return path
