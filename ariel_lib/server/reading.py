"""Which files may be read, and how: nothing outside the served folders, nothing huge whole, nothing catalogue_mean.

A file that cannot be used raises Unreadable with a sentence for the reader. Knows no run and no planet.
"""

import json
import math
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.layout import normalise_planet_id

T = TypeVar("T")
JSON_LIMIT = 16 * 2**20  # bytes; the manifest of 1100 calibrated planets has 0.2 MB
ROWS_LIMIT = 512 * 2**20  # bytes of a table; read line by line
LINE_LIMIT = 2**20  # bytes
LINES_LIMIT = 2_000_000
PLANETS_LIMIT = 100_000  # of one table
VALUES_LIMIT = 2**25  # numbers read from one array
WALK_LIMIT = 200_000  # names looked at
DEPTH_LIMIT = 12  # folders below the root
FRESH = 2.0  # s that a list of files is catalogue_mean
BROKEN = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, OSError, RecursionError, SafetensorError)


class Unreadable(Exception):
    """A file that is there but cannot be used: damaged, too large, no regular file."""


class NotServed(Exception):
    """Nothing of that name is served."""


class Folders:
    """The served folder, and others that may be read besides (data sets)."""

    def __init__(self, root: Path | str, also: Sequence[Path | str] = ()):
        self.root = Path(root).resolve()
        self.roots = (self.root, *(Path(folder).resolve() for folder in also))
        for folder in self.roots:
            if not folder.is_dir():
                raise SpectraMindError(f"{folder}: expected a folder to serve, found none")
        self._lock, self._listed, self._at = threading.Lock(), ([], False), -math.inf

    def inside(self, path: Path) -> Path | None:
        """The path with its links followed, where that is a regular file in a served folder; else None."""
        try:
            path = path.resolve()
            served = any(path.is_relative_to(folder) for folder in self.roots)
            return path if served and stat.S_ISREG(path.stat().st_mode) else None
        except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL, a name that is too long
            return None

    def folder(self, path: Path) -> Path | None:
        """The same for a folder."""
        try:
            path = path.resolve()
            return path if path.is_dir() and any(path.is_relative_to(folder) for folder in self.roots) else None
        except (OSError, ValueError, RuntimeError):
            return None

    def files(self) -> tuple[list[Path], bool]:
        """All regular files under the root but hidden ones and links, and whether there were more than are looked at."""
        with self._lock:
            if time.monotonic() - self._at > FRESH:
                self._listed, self._at = self._walk(), time.monotonic()
            return self._listed

    def _walk(self) -> tuple[list[Path], bool]:
        found, seen, waiting = [], 0, [(str(self.root), 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > WALK_LIMIT:
                            return found, True
                        if entry.name.startswith(".") or entry.is_symlink():
                            continue
                        if entry.is_file(follow_symlinks=False):
                            found.append(Path(entry.path))
                        elif entry.is_dir(follow_symlinks=False) and depth < DEPTH_LIMIT:
                            waiting.append((entry.path, depth + 1))
            except OSError:
                continue
        return sorted(found), False


class Kept:
    """Results of make(*paths) for the files read last, made anew when a file changes."""

    def __init__(self, make: Callable[..., T], most: int):
        self._make, self._most, self._lock, self._kept = make, most, threading.Lock(), OrderedDict()

    def __call__(self, *paths: Path) -> T:
        key = tuple((str(path), (about := path.stat()).st_mtime_ns, about.st_size, about.st_ino) for path in paths)
        with self._lock:  # one reader makes it, the others wait for it
            if key not in self._kept:
                try:
                    self._kept[key] = self._make(*paths), None
                except Unreadable as error:  # kept too: a huge file is not searched again for every reader
                    self._kept[key] = None, str(error)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            made, reason = self._kept[key]
        if reason is not None:
            raise Unreadable(reason)
        return made


def read_json(path: Path, limit: int = JSON_LIMIT) -> dict:
    """An object of a JSON file, cleaned: no NaN, no text that UTF-8 cannot say."""
    try:
        if path.stat().st_size > limit:
            raise Unreadable(f"{path.name}: larger than the {limit // 2**20} MB that are read of such a file")
        found = clean(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path.name}: expected JSON, found none ({type(error).__name__}: {said(error)})") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{path.name}: expected a JSON object, found {type(found).__name__}")
    return found


def clean(value):
    """JSON that can be sent: NaN and infinities become null, lone surrogates question marks."""
    if isinstance(value, dict):
        return {said(key, 200): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return said(value, len(value)) if isinstance(value, str) else value


def said(value: object, most: int = 2000) -> str:
    """Text that UTF-8 can say, cut at `most` letters."""
    return str(value)[:most].encode("utf-8", "replace").decode()


def numbers(values: np.ndarray) -> list[float | None]:
    """A row of numbers as JSON has them: null where they are not finite."""
    row = np.asarray(values, dtype=np.float64).ravel()
    return [number if math.isfinite(number) else None for number in row.tolist()]


class Arrays:
    """A safetensors file whose arrays are read one at a time, or one row of them."""

    def __init__(self, file):
        self._file = file
        self.names = set(file.keys())
        self.text = clean(json.loads((file.metadata() or {}).get("spectramind", "{}")))

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        self._require(self.shape(name), name)
        return self._file.get_tensor(name)

    def row(self, name: str, row: int) -> np.ndarray:
        shape = self.shape(name)
        if not shape or not 0 <= row < shape[0]:
            raise Unreadable(f"array {said(name)}: no row {row} in shape {shape}")
        self._require(shape[1:], name)
        return self._file.get_slice(name)[row : row + 1][0]

    def _require(self, shape: tuple[int, ...], name: str) -> None:
        if math.prod(shape) > VALUES_LIMIT:
            raise Unreadable(f"array {said(name)}: {math.prod(shape)} numbers, more than are read at once")


@contextmanager
def open_arrays(path: Path) -> Iterator[Arrays]:
    """Open a safetensors file; only its header is read."""
    try:
        with safe_open(path, "numpy") as file:
            yield Arrays(file)
    except (SafetensorError, OSError) as error:
        raise Unreadable(f"{path.name}: expected a safetensors file, found a damaged one ({said(error)})") from error


class Rows:
    """A CSV table whose first column names a planet: where each row lies, so that one is read without the others.

    Ids with commas or quotes do not occur (submission.py refuses them).
    """

    def __init__(self, path: Path):
        self.path, self.places = path, {}
        for number, (place, line) in enumerate(read_lines(path)):
            if number == 0:
                self.columns = line.decode("utf-8", "replace").strip().split(",")
            elif number > PLANETS_LIMIT:
                raise Unreadable(f"{path.name}: more than {PLANETS_LIMIT} rows")
            else:
                self.places[normalise_planet_id(line.partition(b",")[0].decode("utf-8", "replace"))] = (place, len(line))
        if not self.places:
            raise Unreadable(f"{path.name}: expected a table of planets, found no row")

    def row(self, planet: str) -> list[str] | None:
        """The cells after the planet's id, or None where it has no row."""
        if planet not in self.places:
            return None
        place, length = self.places[planet]
        with self.path.open("rb") as file:
            file.seek(place)
            return file.read(length).decode("utf-8", "replace").strip().split(",")[1:]

    def numbers(self, planet: str) -> np.ndarray | None:
        cells = self.row(planet)
        return None if cells is None else np.array(cells, dtype=np.float64)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(place, line) of a text file, never more than a line at a time."""
    if path.stat().st_size > ROWS_LIMIT:
        raise Unreadable(f"{path.name}: larger than the {ROWS_LIMIT // 2**20} MB that are read of a table")
    place = 0
    with path.open("rb") as file:
        for number in range(LINES_LIMIT):
            line = file.readline(LINE_LIMIT + 1)
            if not line:
                return
            if len(line) > LINE_LIMIT:
                raise Unreadable(f"{path.name}: line {number + 1} is longer than {LINE_LIMIT} bytes")
            yield place, line
            place += len(line)
    raise Unreadable(f"{path.name}: more than {LINES_LIMIT} lines")
