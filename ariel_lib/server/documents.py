"""Tables of `ablate` and `compare`, and HTML pages: the lists of them, and the content of one."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ariel_lib.server.reading import ServedFolders, UnreadableFile, read_lines
from ariel_lib.server.schemas import Leaderboard, Page, Table
from ariel_lib.server.values import as_text

LEADERBOARDS = {"leaderboard.csv": "ablation", "comparison.csv": "comparison"}  # file name → kind of table
ROWS_LIMIT = 5000
PAGE_LIMIT = 128 * 2**20  # bytes


def list_leaderboards(folders: ServedFolders) -> list[Leaderboard]:
    """The tables under the served folder, in the order of their paths."""
    paths = [path for path in folders.files()[0] if path.name in LEADERBOARDS and folders.file(path)]
    return [Leaderboard(id=folders.id(path), name=folders.name(path), kind=LEADERBOARDS[path.name]) for path in paths]


def read_leaderboard(folders: ServedFolders, wanted: str) -> Table:
    """The table with this id. Raises NotFound; UnreadableFile for an empty one or one beyond the limits."""
    path = folders.find(wanted, lambda path: path.name in LEADERBOARDS)
    lines = (line.decode("utf-8", "replace") for _, line in read_lines(path))
    rows = []
    for row in csv.reader(lines):
        if len(rows) > ROWS_LIMIT:
            raise UnreadableFile(f"{folders.name(path)}: more than {ROWS_LIMIT} rows")
        rows.append([as_text(cell) for cell in row])
    if not rows:
        raise UnreadableFile(f"{folders.name(path)}: expected a table, found an empty file")
    return Table(name=folders.name(path), columns=rows[0], rows=[row for row in rows[1:] if len(row) == len(rows[0])])


def list_pages(folders: ServedFolders) -> list[Page]:
    """The HTML files under the served folder, in the order of their paths."""
    return [page for path in folders.files()[0] if path.suffix == ".html" for page in _describe(folders, path)]


def _describe(folders: ServedFolders, path: Path) -> Iterator[Page]:
    try:
        about = path.stat()
    except OSError:  # removed since the folder was listed
        return
    modified = datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds")
    yield Page(id=folders.id(path), name=folders.name(path), bytes=about.st_size, modified=modified)


def find_page(folders: ServedFolders, wanted: str) -> Path:
    """The HTML file with this id. Raises NotFound; UnreadableFile for one above PAGE_LIMIT."""
    path = folders.find(wanted, lambda path: path.suffix == ".html")
    if path.stat().st_size > PAGE_LIMIT:
        raise UnreadableFile(f"{folders.name(path)}: larger than {PAGE_LIMIT // 2**20} MB, the limit for a page")
    return path
