"""Atomic writing of files, and named arrays with text metadata in safetensors files (no pickle)."""

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from ariel_lib.errors import SpectraMindError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEXT = "spectramind"
COMPRESSED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z")


class StorageError(SpectraMindError):
    """A file that SpectraMind wrote is missing or damaged."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A new file beside `path`, to be written inside the block, that replaces it at the end in one step: a reader sees the
    old bytes or the new ones, never half of them. After an exception the old file stays and the new one goes; an
    OSError names it.

    Its permissions are those of any new file, the umask's: network file systems without chmod are written as well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # its bytes are on the disk before its name is
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # as on a full disk: write() does not know the name
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def require_uncompressed(path: Path | str) -> None:
    """Raise StorageError for the name of a compressed file: what is written is not."""
    if Path(path).suffix.lower() in COMPRESSED:
        raise StorageError(f"{path}: expected a name without {Path(path).suffix}, for the file is not compressed. Compress it afterwards.")


def write_atomically(path: Path | str, content: bytes | str) -> Path:
    """Replace a file in one step by one of this content. Raises StorageError for the name of a compressed file.

    Text is written as UTF-8; what a path that is not UTF-8 brings into it (lone surrogates) is escaped, as in caf\\udce9.
    """
    require_uncompressed(path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
    return Path(path)


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Hold a lock on a folder for as long as one of its files is read and rewritten; others that ask for it wait.

    On a system or file system without locks nothing is held.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save_arrays(path: Path | str, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Path:
    """Write named arrays, with their dtypes and shapes, and text metadata, atomically."""
    # One key of metadata: safetensors writes several keys in an order that changes from run to run.
    text = {_TEXT: json.dumps(metadata, sort_keys=True)}
    return write_atomically(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, text))


def part(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays whose keys begin with `name` and a dot, with this prefix removed."""
    return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}


def load_arrays(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a file. Raises StorageError where it is missing or damaged."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _text(file)  # noqa: SIM118 (no mapping)


def parse_arrays(content: bytes, path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """load_arrays of the content of a file, which is read once where its digest is wanted too. path: for the message."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header.get("__metadata__", {}).get(_TEXT, "{}"))
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def load_metadata(path: Path | str) -> dict[str, str]:
    """Metadata of a file, without reading its arrays. Raises StorageError where it is missing or damaged."""
    with _opened(path) as file:
        return _text(file)


def load_shapes(path: Path | str) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes of the arrays of a file and its metadata, without reading the arrays. Raises StorageError where it is missing or damaged."""
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, _text(file)  # noqa: SIM118 (no mapping)


def _text(file) -> dict[str, str]:
    return json.loads((file.metadata() or {}).get(_TEXT, "{}"))


def _opened(path: Path | str):
    if not Path(path).is_file():
        raise StorageError(f"{path}: no such file")
    try:
        return safe_open(path, "numpy")
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path | str, error: Exception) -> StorageError:
    return StorageError(f"{path}: expected a safetensors file, found a damaged one ({error})")


class Stored:
    """Base of a dataclass whose fields are arrays: conversion to and from the named arrays of a checkpoint."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Fields by name."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Inverse of to_arrays; further arrays are ignored."""
        return cls(**{f.name: np.asarray(arrays[f.name], dtype=float) for f in fields(cls)})
