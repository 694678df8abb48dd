"""Access to files that may be damaged, huge or crafted: only inside the served folders, within limits of size, never run as code.

A file that cannot be used raises UnreadableFile, whose text is shown on the page.
"""

import hashlib
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
from typing import Generic, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.layout import normalise_planet_id
from ariel_lib.server.values import as_json, as_series, as_text

T = TypeVar("T")
JSON_LIMIT = 16 * 2**20  # bytes; the manifest of 1100 calibrated planets has 0.2 MB
TABLE_LIMIT = 512 * 2**20  # bytes of a text file; read line by line
LINE_LIMIT = 2**20  # bytes
LINES_LIMIT = 2_000_000
PLANETS_LIMIT = 100_000  # rows of one table
VALUES_LIMIT = 2**25  # numbers read from one array
ENTRIES_LIMIT = 200_000  # names of files and folders that are visited
DEPTH_LIMIT = 12  # folders below the root
LISTING_LIFETIME = 2.0  # s for which a listing of files is used again
# Errors of reading content in another format than this library writes. A page is shown without the parts that raise them.
FORMAT_ERRORS = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, OSError, RecursionError, SafetensorError)


class UnreadableFile(Exception):
    """A file that exists but cannot be used: damaged, too large, or of another format."""


class NotFound(Exception):
    """Nothing with that name is served."""


class ServedFolders:
    """The folder that is shown, root, and further folders that may be read. Links are followed only to files inside them.

    Raises SpectraMindError for a missing folder.
    """

    def __init__(self, root: Path | str, also: Sequence[Path | str] = ()):
        self.root = Path(root).resolve()
        self.roots = (self.root, *(Path(folder).resolve() for folder in also))
        for folder in self.roots:
            if not folder.is_dir():
                raise SpectraMindError(f"{folder}: expected a folder to serve, found none")
        self._lock, self._listing, self._listed_at = threading.Lock(), ([], False), -math.inf

    def file(self, path: Path) -> Path | None:
        """The path with links resolved, if it is a regular file inside a served folder; else None."""
        try:
            path = path.resolve()
            return path if self._contains(path) and stat.S_ISREG(path.stat().st_mode) else None
        except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL, a name that is too long
            return None

    def folder(self, path: Path) -> Path | None:
        """The path with links resolved, if it is a folder inside a served folder; else None."""
        try:
            path = path.resolve()
            return path if self._contains(path) and path.is_dir() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def _contains(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.roots)

    def name(self, path: Path) -> str:
        """A path below the root, relative to it, as text."""
        return as_text(path.relative_to(self.root).as_posix())

    def id(self, path: Path) -> str:
        """Identifier of a path below the root for URLs, 16 hexadecimal digits; requests contain no paths."""
        return hashlib.sha256(os.fsencode(path.relative_to(self.root))).hexdigest()[:16]

    def find(self, wanted: str, fits: Callable[[Path], bool]) -> Path:
        """The file with the id `wanted` for which fits(path) is true. Raises NotFound."""
        for path in self.files()[0]:
            if fits(path) and self.id(path) == wanted and self.file(path):
                return path
        raise NotFound("nothing with this id is served")

    def files(self) -> tuple[list[Path], bool]:
        """All regular files under the root except hidden ones and links, and whether files beyond ENTRIES_LIMIT were left out."""
        with self._lock:
            if time.monotonic() - self._listed_at > LISTING_LIFETIME:
                self._listing, self._listed_at = self._walk(), time.monotonic()
            return self._listing

    def _walk(self) -> tuple[list[Path], bool]:
        found, seen, waiting = [], 0, [(str(self.root), 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > ENTRIES_LIMIT:
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


class FileCache(Generic[T]):
    """Cache of the last `size` results of make(*paths), an UnreadableFile error included; a changed file is read again."""

    def __init__(self, make: Callable[..., T], size: int):
        self._make, self._size, self._lock = make, size, threading.Lock()
        self._results: OrderedDict[tuple, tuple[T | None, str | None]] = OrderedDict()

    def __call__(self, *paths: Path) -> T:
        key = tuple((str(path), (about := path.stat()).st_mtime_ns, about.st_size, about.st_ino) for path in paths)
        with self._lock:  # one request reads the files, the others wait for it
            if key not in self._results:
                try:
                    self._results[key] = self._make(*paths), None
                except UnreadableFile as error:  # kept too: a huge file is not searched again for every request
                    self._results[key] = None, str(error)
            self._results.move_to_end(key)
            while len(self._results) > self._size:
                self._results.popitem(last=False)
            result, reason = self._results[key]
        if reason is not None:
            raise UnreadableFile(reason)
        return result


def read_json(path: Path, limit: int = JSON_LIMIT) -> dict:
    """The object in a JSON file, with values as by as_json. Raises UnreadableFile for another file or one above limit bytes."""
    try:
        if path.stat().st_size > limit:
            raise UnreadableFile(f"{path.name}: larger than {limit // 2**20} MB, the limit for such a file")
        found = as_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path.name}: expected JSON, found none ({type(error).__name__}: {as_text(error)})") from error
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path.name}: expected a JSON object, found {type(found).__name__}")
    return found


class ArrayFile:
    """An open safetensors file, of which single arrays or rows are read. names: of its arrays; metadata: name → text."""

    def __init__(self, file):
        self._file = file
        self.names = set(file.keys())
        self.metadata = as_json(json.loads((file.metadata() or {}).get("spectramind", "{}")))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array."""
        return tuple(self._file.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """A whole array. Raises UnreadableFile above VALUES_LIMIT."""
        self._check_size(self.shape(name), name)
        return self._file.get_tensor(name)

    def row(self, name: str, row: int) -> np.ndarray:
        """Element `row` of the first axis of an array. Raises UnreadableFile where there is none and above VALUES_LIMIT."""
        shape = self.shape(name)
        if not shape or not 0 <= row < shape[0]:
            raise UnreadableFile(f"array {as_text(name)}: no row {row} in shape {shape}")
        self._check_size(shape[1:], name)
        return self._file.get_slice(name)[row : row + 1][0]

    def row_of(self, planet: str) -> int | None:
        """The planet's row in arrays (planet, …), from the ids in the metadata; None for a planet without a row."""
        planets = json.loads(self.metadata["planet_ids"])
        return planets.index(planet) if planet in planets else None

    def _check_size(self, shape: tuple[int, ...], name: str) -> None:
        if math.prod(shape) > VALUES_LIMIT:
            raise UnreadableFile(f"array {as_text(name)}: {math.prod(shape)} numbers, the limit is {VALUES_LIMIT}")


@contextmanager
def open_arrays(path: Path) -> Iterator[ArrayFile]:
    """Open a safetensors file; only its header is read. Raises UnreadableFile for a damaged one."""
    try:
        with safe_open(path, "numpy") as file:
            yield ArrayFile(file)
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"{path.name}: expected a safetensors file, found a damaged one ({as_text(error)})") from error


class PlanetTable:
    """A CSV table with a planet's id in the first column. Only the place of each row in the file is kept in memory.

    Cells are split at every comma: ids with commas or quotes do not occur (io/submission.py refuses them).
    """

    def __init__(self, path: Path):
        self.path, self._places = path, {}
        for number, (offset, line) in enumerate(read_lines(path)):
            if number == 0:
                self.columns = line.decode("utf-8", "replace").strip().split(",")
            elif number > PLANETS_LIMIT:
                raise UnreadableFile(f"{path.name}: more than {PLANETS_LIMIT} rows")
            else:
                planet = normalise_planet_id(line.partition(b",")[0].decode("utf-8", "replace"))
                self._places[planet] = offset, len(line)
        if not self._places:
            raise UnreadableFile(f"{path.name}: expected a table of planets, found no row")

    @property
    def planets(self) -> Sequence[str]:
        """Ids of the planets, in the order of the rows."""
        return list(self._places)

    def __contains__(self, planet: str) -> bool:
        return planet in self._places

    def cells(self, planet: str) -> list[str] | None:
        """The cells after the planet's id, or None for a planet without a row."""
        if planet not in self._places:
            return None
        offset, length = self._places[planet]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length).decode("utf-8", "replace").strip().split(",")[1:]

    def numbers(self, planet: str) -> np.ndarray | None:
        """The cells after the planet's id as float64, or None for a planet without a row. Raises ValueError for other text."""
        cells = self.cells(planet)
        return None if cells is None else np.array(cells, dtype=np.float64)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset in bytes, line) of a text file, one line at a time. Raises UnreadableFile above one of the limits."""
    if path.stat().st_size > TABLE_LIMIT:
        raise UnreadableFile(f"{path.name}: larger than {TABLE_LIMIT // 2**20} MB, the limit for such a file")
    offset = 0
    with path.open("rb") as file:
        for number in range(LINES_LIMIT):
            line = file.readline(LINE_LIMIT + 1)
            if not line:
                return
            if len(line) > LINE_LIMIT:
                raise UnreadableFile(f"{path.name}: line {number + 1} is longer than {LINE_LIMIT} bytes")
            yield offset, line
            offset += len(line)
    raise UnreadableFile(f"{path.name}: more than {LINES_LIMIT} lines")


def of_length(values: np.ndarray, length: int) -> list[float | None]:
    """Values as a list, None where not finite. Raises UnreadableFile where their number is not `length`."""
    if values.size != length:
        raise UnreadableFile(f"expected one value for each of {length} wavelengths, found {values.size}")
    return as_series(values)
