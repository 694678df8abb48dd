"""Runs, found by their manifests: what they were made of, what they made, and what belongs to which submission.

A manifest is text that somebody wrote: every path in it counts only if it ends inside a served folder.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ariel_lib.provenance.progress import RUNNING
from ariel_lib.server.reading import (
    BROKEN,
    Folders,
    Kept,
    NotServed,
    Unreadable,
    clean,
    open_arrays,
    read_json,
    read_lines,
    said,
)
from ariel_lib.server.schemas import (
    Artifact,
    Board,
    Comparison,
    Difference,
    Epoch,
    Page,
    Run,
    RunDetail,
    Running,
    Runs,
    Table,
)

TABLES = {"leaderboard.csv": "ablation", "comparison.csv": "comparison"}
TABLE_ROWS = 5000
FACTS = 500  # of one section of a manifest
ARTIFACTS = 500
RUNNING_LIMIT = 2**20
PAGE_LIMIT = 128 * 2**20


@dataclass(frozen=True)
class Found:
    """A run and where its things lie. links: input name → path as the manifest has it; submission: its CSV, or None."""

    run: Run
    path: Path
    split: str
    links: dict[str, Path]
    submission: Path | None


class Library:
    """All that is found under the served folder. Every answer is made from the disk as it is."""

    def __init__(self, folders: Folders):
        self.folders = folders
        self._manifest = Kept(self._read_manifest, 5000)

    def name(self, path: Path) -> str:
        return said(path.relative_to(self.folders.root).as_posix())

    def id(self, path: Path) -> str:
        """A name for URLs: no path ever comes from a reader."""
        return hashlib.sha256(os.fsencode(path.relative_to(self.folders.root))).hexdigest()[:16]

    # Runs

    def all(self) -> dict[str, Found]:
        """Runs by id, in the order of their paths."""
        files, _ = self.folders.files()
        names, found, told = set(files), {}, set()
        for path in files:
            if path.name == "manifest.json" or (path.name.startswith("manifest_") and path.suffix == ".json"):
                run = self._manifest(path) if path.exists() else None
                if run is not None:
                    found[run.run.id] = run
                    told.add(run.submission)
        for path in files:
            if path.suffix == ".csv" and path not in told and path.with_suffix(".json") in names:
                run = self._manifest(path.with_suffix(".json"))
                if run is not None:
                    found[run.run.id] = run
        return found

    def find(self, run: str) -> Found:
        found = self.all().get(run)
        if found is None:
            raise NotServed("no such run")
        return found

    def _read_manifest(self, path: Path) -> Found | None:
        """The run that a manifest, or the record beside a submission, tells of; None where the file is neither."""
        about = {"id": self.id(path), "folder": self.name(path.parent), "manifest": said(path.name)}
        is_manifest = path.name.startswith("manifest")
        try:
            text = read_json(path)
            if is_manifest and "command" not in text:
                return None  # the hashes beside weights
            if not is_manifest and not {"source", "answered"} <= set(text):
                return None
            return self._manifest_run(path, text, about) if is_manifest else self._record_run(path, text, about)
        except Unreadable as error:
            return Found(Run(**about, command="?", problem=str(error)), path, "test", {}, None) if is_manifest else None
        except BROKEN as error:
            problem = f"{said(path.name)}: not as this program writes it ({type(error).__name__}: {said(error, 200)})"
            return Found(Run(**about, command="?", problem=problem), path, "test", {}, None)

    def _manifest_run(self, path: Path, text: dict, about: dict) -> Found:
        times, git, metrics = text.get("times") or {}, text.get("git") or {}, flat(text.get("metrics"))
        score = next((metrics[name] for name in ("score", "v50.score", "composite") if is_number(metrics.get(name))), None)
        links = {said(name): path.parent / str(given["path"]) for name, given in (text.get("inputs") or {}).items()}
        tables = [path.parent / name for name in text.get("artifacts") or {} if name.endswith(".csv")]
        command = said(text["command"], 40)
        submission = next((self.folders.inside(table) for table in tables), None) if command == "predict" else None
        run = Run(
            **about, command=command, started=words(times.get("started")), seconds=number(times.get("seconds")), git=words(git.get("sha")),
            dirty=git.get("dirty") if isinstance(git.get("dirty"), bool) else None, score=score, planets=submission is not None,
            seed=text.get("seed") if isinstance(text.get("seed"), int) else None, config_hash=words(text.get("config_hash")),
        )  # fmt: skip
        return Found(run, path, plain_split((text.get("settings") or {}).get("split")), links, submission)

    def _record_run(self, path: Path, text: dict, about: dict) -> Found:
        submission = self.folders.inside(path.with_suffix(".csv"))
        run = Run(**about, command="predict", planets=submission is not None)
        return Found(run, path, "test", {"data": Path(str(text["source"]["data"]))}, submission)

    def listed(self, q: str, command: str, sort: str, order: str, offset: int, limit: int) -> Runs:
        runs = [found.run for found in self.all().values()]
        commands = sorted({run.command for run in runs})
        wanted = q.casefold()
        runs = [run for run in runs if (not command or run.command == command) and wanted in f"{run.folder} {run.command} {run.manifest}".casefold()]
        runs = in_order(runs, lambda run: getattr(run, sort), order)
        return Runs(total=len(runs), runs=runs[offset : offset + limit], commands=commands, cut=self.folders.files()[1])

    def detail(self, run: str) -> RunDetail:
        found = self.find(run)
        text = {} if found.run.problem else read_json(found.path)
        artifacts = [
            Artifact(name=said(name), bytes=number(about.get("bytes")), sha256=said(about.get("sha256"), 64))
            for name, about in (text.get("artifacts") or {}).items() if isinstance(about, dict)
        ]  # fmt: skip
        parts = {name: flat(text.get(name)) for name in ("metrics", "settings", "versions", "hardware")}
        inputs = {name: said(given.get("path")) for name, given in (text.get("inputs") or {}).items() if isinstance(given, dict)}
        history = self._history(found.path.parent) if found.run.command == "train" else []
        return RunDetail(
            run=found.run, **parts, inputs=inputs, artifacts=artifacts[:ARTIFACTS], n_artifacts=len(artifacts), history=history
        )

    def compare(self, a: str, b: str) -> Comparison:
        first, second = self.detail(a), self.detail(b)
        sides = {name: (getattr(first, name), getattr(second, name)) for name in ("metrics", "settings", "versions", "inputs")}
        rows = {name: list(differences(*both, everything=name == "metrics")) for name, both in sides.items()}
        return Comparison(a=first.run, b=second.run, **rows)

    def beside(self, found: Found, name: str, command: str) -> Path | None:
        """A file of that name beside the submission, else in the last run of the command that has this submission for input."""
        beside = self.folders.inside(found.submission.parent / name)
        if beside:
            return beside
        for other in sorted(self.all().values(), key=lambda other: other.run.started or "", reverse=True):
            link = other.links.get("submission")
            path = self.folders.inside(other.path.parent / name) if other.run.command == command and link is not None else None
            if path and self.folders.inside(link) == found.submission:
                return path
        return None

    # Training and calibration as they go on

    def running(self) -> list[Running]:
        return [self._running(path) for path in self.folders.files()[0] if path.name == RUNNING and self.folders.inside(path)]

    def _running(self, path: Path) -> Running:
        about = {"id": self.id(path), "folder": self.name(path.parent)}
        try:
            text = read_json(path, RUNNING_LIMIT)
            silent = max(datetime.now(UTC).timestamp() - path.stat().st_mtime, 0.0)
            return Running(
                **about, command=said(text.get("command"), 40), started=words(text.get("started")), silent_s=round(silent, 1),
                done=count(text.get("done")), total=count(text.get("total")), lines=[said(line, 500) for line in text.get("lines") or []],
                history=self._history(path.parent),
            )  # fmt: skip
        except (Unreadable, *BROKEN) as error:
            return Running(**about, command="?", problem=said(error))

    def _history(self, folder: Path) -> list[Epoch]:
        """Loss and held-out score by epoch: of the state that training keeps while it runs, else of metrics.json."""
        try:
            state, metrics = (self.folders.inside(folder / name) for name in ("state.safetensors", "metrics.json"))
            if state:
                with open_arrays(state) as arrays:
                    entries = json.loads(arrays.text["history"])
            elif metrics:
                entries = read_json(metrics).get("history") or []
            else:
                return []
            return [Epoch(epoch=int(e["epoch"]), loss=number(e["loss"]), score=number(e["score"])) for e in clean(entries)]
        except (Unreadable, *BROKEN):
            return []

    # Tables and pages

    def boards(self) -> list[Board]:
        paths = [path for path in self.folders.files()[0] if path.name in TABLES]
        return [Board(id=self.id(path), name=self.name(path), kind=TABLES[path.name]) for path in paths]

    def board(self, board: str) -> Table:
        path = self._one(board, lambda path: path.name in TABLES)
        lines = (line.decode("utf-8", "replace") for _, line in read_lines(path))
        rows = []
        for row in csv.reader(lines):
            if len(rows) > TABLE_ROWS:
                raise Unreadable(f"{self.name(path)}: more than {TABLE_ROWS} rows")
            rows.append([said(cell) for cell in row])
        if not rows:
            raise Unreadable(f"{self.name(path)}: an empty table")
        return Table(name=self.name(path), columns=rows[0], rows=[row for row in rows[1:] if len(row) == len(rows[0])])

    def pages(self) -> list[Page]:
        return [page for path in self.folders.files()[0] if path.suffix == ".html" for page in self._page(path)]

    def _page(self, path: Path) -> Iterator[Page]:
        try:
            about = path.stat()
        except OSError:
            return
        modified = datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds")
        yield Page(id=self.id(path), name=self.name(path), bytes=about.st_size, modified=modified)

    def page(self, page: str) -> Path:
        path = self._one(page, lambda path: path.suffix == ".html")
        if path.stat().st_size > PAGE_LIMIT:
            raise Unreadable(f"{self.name(path)}: larger than the {PAGE_LIMIT // 2**20} MB that are sent of a page")
        return path

    def _one(self, wanted: str, fits: Callable[[Path], bool]) -> Path:
        for path in self.folders.files()[0]:
            if fits(path) and self.id(path) == wanted and self.folders.inside(path):
                return path
        raise NotServed("nothing of that name")


def flat(value: object, prefix: str = "") -> dict:
    """Nested settings under dotted names, at most FACTS of them."""
    if not isinstance(value, dict):
        return {prefix[:-1]: value if value is None or isinstance(value, str | int | float | bool) else said(value, 300)} if prefix else {}
    found: dict = {}
    for name, item in value.items():
        if len(found) >= FACTS:
            break
        found |= flat(item, f"{prefix}{said(name, 100)}.")
    return found


def differences(a: dict, b: dict, *, everything: bool) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        if everything or a.get(name) != b.get(name):
            yield Difference(name=name, a=a.get(name), b=b.get(name))


def in_order(items: list, key: Callable, order: str) -> list:
    """Sorted by a key that may be None, which comes last either way."""
    known = sorted((item for item in items if key(item) is not None), key=key, reverse=order == "desc")
    return known + [item for item in items if key(item) is None]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: object) -> float | None:
    return float(value) if is_number(value) else None


def count(value: object) -> int | None:
    return int(value) if is_number(value) else None


def words(value: object) -> str | None:
    return said(value, 200) if isinstance(value, str) else None


def plain_split(value: object) -> str:
    return value if value in ("train", "test") else "test"
