"""Runs, found by the manifests that commands write: their inputs, settings, metrics, artifacts and submissions.

A manifest can contain any path: one is used only if it resolves to a file inside a served folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ariel_lib.server.progress import read_history
from ariel_lib.server.reading import FORMAT_ERRORS, FileCache, NotFound, ServedFolders, UnreadableFile, read_json
from ariel_lib.server.schemas import Artifact, Comparison, Difference, Run, RunDetail, Runs
from ariel_lib.server.values import as_number, as_text, as_text_or_none, flatten, is_number, sort_by

ARTIFACTS_LIMIT = 500  # of one run, that are listed
SCORES = ("score", "v50.score", "composite")  # metrics that count as a run's score: of diagnose, train and ablate


@dataclass(frozen=True)
class RunFiles:
    """A run and its files.

    run         its entry in the list of runs
    path        its manifest, or the JSON record beside a submission that has no manifest
    split       of the data set: train or test
    inputs      name → path as the manifest gives it, not yet checked to be served
    submission  its CSV file, or None
    """

    run: Run
    path: Path
    split: str
    inputs: dict[str, Path]
    submission: Path | None


class RunIndex:
    """All runs under the served folder. Manifests are listed at every request, and parsed again when they changed."""

    def __init__(self, folders: ServedFolders):
        self.folders = folders
        self._read = FileCache(self._read_run, 5000)

    def all(self) -> dict[str, RunFiles]:
        """Runs by id, in the order of their paths; submissions without a manifest after them."""
        files, _ = self.folders.files()
        manifests = [path for path in files if path.name == "manifest.json" or path.match("manifest_*.json")]
        runs = self._read_all(manifests)
        known, present = {run.submission for run in runs.values()}, set(files)
        submissions = (path for path in files if path.suffix == ".csv" and path not in known)
        return runs | self._read_all([path.with_suffix(".json") for path in submissions if path.with_suffix(".json") in present])

    def _read_all(self, paths: list[Path]) -> dict[str, RunFiles]:
        runs = {}
        for path in paths:
            try:
                run = self._read(path)
            except FileNotFoundError:  # removed since the folder was listed
                continue
            if run is not None:
                runs[run.run.id] = run
        return runs

    def find(self, run: str) -> RunFiles:
        """The run with this id. Raises NotFound."""
        found = self.all().get(run)
        if found is None:
            raise NotFound("no such run")
        return found

    def _read_run(self, path: Path) -> RunFiles | None:
        """The run of a manifest or of the record beside a submission; None for a JSON file that is neither."""
        about = {"id": self.folders.id(path), "folder": self.folders.name(path.parent), "manifest": as_text(path.name)}
        is_manifest = path.name.startswith("manifest")
        try:
            content = read_json(path)
            if is_manifest and "command" not in content:
                return None  # checksums of weights
            if not is_manifest and not {"source", "answered"} <= set(content):
                return None
            return self._run_of_manifest(path, content, about) if is_manifest else self._run_of_record(path, content, about)
        except UnreadableFile as error:
            return RunFiles(Run(**about, command="?", problem=str(error)), path, "test", {}, None) if is_manifest else None
        except FORMAT_ERRORS as error:
            problem = f"{as_text(path.name)}: not in the format of a manifest ({type(error).__name__}: {as_text(error, 200)})"
            return RunFiles(Run(**about, command="?", problem=problem), path, "test", {}, None)

    def _run_of_manifest(self, path: Path, content: dict, about: dict) -> RunFiles:
        times, git, metrics = content.get("times") or {}, content.get("git") or {}, flatten(content.get("metrics"))
        inputs = {as_text(name): path.parent / str(given["path"]) for name, given in (content.get("inputs") or {}).items()}
        tables = [path.parent / name for name in content.get("artifacts") or {} if name.endswith(".csv")]
        command = as_text(content["command"], 40)
        submission = next((self.folders.file(table) for table in tables), None) if command == "predict" else None
        run = Run(
            **about, command=command, has_submission=submission is not None,
            started=as_text_or_none(times.get("started")), seconds=as_number(times.get("seconds")),
            git=as_text_or_none(git.get("sha")), dirty=git.get("dirty") if isinstance(git.get("dirty"), bool) else None,
            score=next((metrics[name] for name in SCORES if is_number(metrics.get(name))), None),
            seed=content.get("seed") if isinstance(content.get("seed"), int) else None,
            config_hash=as_text_or_none(content.get("config_hash")),
        )  # fmt: skip
        split = (content.get("settings") or {}).get("split")
        return RunFiles(run, path, split if split in ("train", "test") else "test", inputs, submission)

    def _run_of_record(self, path: Path, content: dict, about: dict) -> RunFiles:
        submission = self.folders.file(path.with_suffix(".csv"))
        run = Run(**about, command="predict", has_submission=submission is not None)
        return RunFiles(run, path, "test", {"data": Path(str(content["source"]["data"]))}, submission)

    def list_runs(self, q: str, command: str, sort: str, order: str, offset: int, limit: int) -> Runs:
        """Runs of a command (empty: all) whose folder, command or manifest contains q, sorted by a field of Run."""
        runs = [found.run for found in self.all().values()]
        commands, wanted = sorted({run.command for run in runs}), q.casefold()
        runs = [
            run for run in runs
            if (not command or run.command == command) and wanted in f"{run.folder} {run.command} {run.manifest}".casefold()
        ]  # fmt: skip
        runs = sort_by(runs, lambda run: getattr(run, sort), order)
        return Runs(total=len(runs), runs=runs[offset : offset + limit], commands=commands, incomplete=self.folders.files()[1])

    def detail(self, run: str) -> RunDetail:
        """The manifest of a run. Raises NotFound for an unknown id."""
        found = self.find(run)
        content = {} if found.run.problem else read_json(found.path)
        artifacts = [
            Artifact(name=as_text(name), bytes=as_number(about.get("bytes")), sha256=as_text(about.get("sha256"), 64))
            for name, about in (content.get("artifacts") or {}).items() if isinstance(about, dict)
        ]  # fmt: skip
        parts = {name: flatten(content.get(name)) for name in ("metrics", "settings", "versions", "hardware")}
        inputs = {name: as_text(given.get("path")) for name, given in (content.get("inputs") or {}).items() if isinstance(given, dict)}
        history = read_history(self.folders, found.path.parent) if found.run.command == "train" else []
        return RunDetail(
            run=found.run, **parts, inputs=inputs, artifacts=artifacts[:ARTIFACTS_LIMIT], n_artifacts=len(artifacts), history=history
        )

    def compare(self, a: str, b: str) -> Comparison:
        """Metrics of two runs, and the differences of their settings, versions and inputs. Raises NotFound for an unknown id."""
        first, second = self.detail(a), self.detail(b)
        sides = {name: (getattr(first, name), getattr(second, name)) for name in ("metrics", "settings", "versions", "inputs")}
        rows = {name: list(differences(*both, everything=name == "metrics")) for name, both in sides.items()}
        return Comparison(a=first.run, b=second.run, **rows)

    def find_beside(self, found: RunFiles, name: str, command: str) -> Path | None:
        """The file with this name beside the submission, else beside the latest run of the command with this submission as input."""
        beside = self.folders.file(found.submission.parent / name)
        if beside:
            return beside
        for other in sorted(self.all().values(), key=lambda other: other.run.started or "", reverse=True):
            given = other.inputs.get("submission")
            path = self.folders.file(other.path.parent / name) if other.run.command == command and given is not None else None
            if path and self.folders.file(given) == found.submission:
                return path
        return None


def differences(a: dict, b: dict, *, everything: bool) -> Iterator[Difference]:
    """Yield each name in a or b with both values; with everything=False only those whose values differ."""
    for name in dict.fromkeys([*a, *b]):
        if everything or a.get(name) != b.get(name):
            yield Difference(name=name, a=a.get(name), b=b.get(name))
