"""Record of a run: a manifest of inputs, settings, versions and artifacts, a line in the log, an entry in the summary.

Written to the output folder of the run as manifest_{command}.json, logs/v50_debug_log.md and run_hash_summary_v50.json.
Everything that depends on the clock is under the key "times".
"""

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import sha256
from ariel_lib.io.lakefs import source_of
from ariel_lib.io.storage import StorageError, locked, write_atomically

SUMMARY = "run_hash_summary_v50.json"
LOG = Path("logs") / "v50_debug_log.md"
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "numba", "safetensors", "torch", "torch-geometric", "hydra-core", "omegaconf")
TIMES = "times"
logger = logging.getLogger(__name__)


class Run:
    """Content of a run's record, filled in by the caller: artifacts (paths under its folder), metrics, inputs, settings, remarks.

    inputs   name → path of a file or folder, hashed at the end of the run, or the Archive of a data set, which holds the digests of
             all files that were read from it
    remarks  planet → problems with its data or its fit
    """

    def __init__(self, command: str, folder: Path, seed: int | None, config_hash: str | None):
        self.command, self.folder, self.seed, self.config_hash = command, folder, seed, config_hash
        self.artifacts: list[Path] = []
        self.metrics: dict = {}
        self.inputs: dict[str, Path | Archive] = {}
        self.settings: dict = {}
        self.remarks: dict[str, str] = {}


@contextmanager
def record_run(
    command: str, folder: Path | str, *, seed: int | None = None, config_hash: str | None = None, manifest: str | None = None
) -> Iterator[Run]:
    """Context manager that records a run: with record_run("train", out) as run: …

    manifest  name of the manifest; default: manifest_{command}.json

    For a run that raises, only a line in the log is written, and none if its folder does not exist. A failure to write the record is
    logged as a warning.
    """
    run, started, clock = Run(command, Path(folder), seed, config_hash), datetime.now(UTC), time.monotonic()
    try:
        yield run
    except BaseException as error:
        if run.folder.is_dir():
            with suppress(OSError):  # the error must not be hidden by a failed write
                _log(run, started, time.monotonic() - clock, f"failed: {type(error).__name__}: {' '.join(str(error).split())}")
        raise
    try:
        described = describe(run)
        described[TIMES] = {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 2)}
        path = write_atomically(run.folder / (manifest or f"manifest_{command}.json"), _json(described))
        _summarise(run, described, path)
        _log(run, started, time.monotonic() - clock, f"done: {path.name}, {len(run.artifacts)} artifacts")
    except OSError as error:  # full disk or missing input: the results of the run are complete without its record
        logger.warning("%s: the run is done, but its record could not be written: %s", run.folder, error)


def describe(run: Run) -> dict:
    """The manifest of a run, without its times."""
    return {
        "command": run.command, "git": git_state(), "config_hash": run.config_hash, "seed": run.seed, "settings": run.settings,
        "versions": versions(), "hardware": hardware(),
        "inputs": {name: _input(p, run.folder) for name, p in sorted(run.inputs.items())},
        "artifacts": {
            Path(os.path.relpath(p, run.folder)).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)}
            for p in sorted(run.artifacts)
        },
        "metrics": run.metrics, "remarks": run.remarks,
    }  # fmt: skip


def _input(given: Path | Archive, folder: Path) -> dict[str, object]:
    """Path and SHA-256 of an input, or of all files read from a data set; for a copy from lakeFS also its reference and commit."""
    if isinstance(given, Archive):
        path = given.root
        files = {Path(os.path.relpath(name, path)).as_posix(): digest for name, digest in given.files.copy().items()}
        visits = {"/".join(map(str, visit)): digest for visit, digest in given.visits_read.copy().items()}
        found = {"path": os.path.relpath(path, folder), "files": files} | ({"visits": visits} if visits else {})
    else:
        path, found = given, {"path": os.path.relpath(given, folder), "sha256": fingerprint(given)}
    source = source_of(path)
    return found if source is None else found | {"lakefs": source}


def verify_run(manifest: Path | str) -> list[str]:
    """A sentence for each artifact or input that differs from the manifest. Raises StorageError for a missing or malformed manifest."""
    manifest = Path(manifest)
    try:
        stated = json.loads(manifest.read_bytes())
        artifacts = dict(stated["artifacts"] if "artifacts" in stated else stated["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{manifest}: expected a manifest with artifacts, found none ({error})") from error
    changes = []
    for name, wanted in artifacts.items():
        path = manifest.parent / name
        if not path.is_file():
            changes.append(f"{name}: missing")
        elif (found := sha256(path)) != wanted["sha256"]:
            changes.append(f"{name}: SHA-256 {wanted['sha256'][:12]}… became {found[:12]}…, {wanted['bytes']} bytes {path.stat().st_size}")
    for name, wanted in stated.get("inputs", {}).items():
        path = manifest.parent / wanted["path"]
        changes += [f"input {name} ({path}): {what}" for what in (_changes(path, wanted) if path.exists() else ["missing"])]
    return changes


def _changes(path: Path, wanted: Mapping) -> Iterator[str]:
    """What differs from the description of an input; the files and frames of a data set are read whole."""
    if "sha256" in wanted and fingerprint(path) != wanted["sha256"]:
        yield "its content changed"
    if "fingerprint" in wanted:
        yield "recorded by an earlier version, which read the ends of large files alone: not proved. Run the command again"
    for name, digest in wanted.get("files", {}).items():
        file = path / name
        if not file.is_file():
            yield f"{name} is missing"
        elif sha256(file) != digest:
            yield f"the content of {name} changed"
    for name, digest in wanted.get("visits", {}).items():
        split, planet, visit = name.split("/")
        if not (path / split / planet).is_dir():
            yield f"the frames of {name} are missing"
        elif Archive(path).visit_digest(split, planet, int(visit)) != digest:
            yield f"the frames of {name} changed"


def fingerprint(path: Path | str) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files, all of which are read.

    Hidden files and the records of runs (manifests, log, summary) are left out.
    """
    path = Path(path)
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and _counts(p.relative_to(path))):
        digest.update(os.fsencode(f"{'' if file == path else file.relative_to(path).as_posix()}\0{sha256(file)}\0"))
    return digest.hexdigest()


def _counts(relative: Path) -> bool:
    """Whether a file enters the fingerprint of its folder."""
    of_a_run = relative.name == SUMMARY or relative.name.startswith("manifest_") or relative.name == LOG.name
    return not of_a_run and not any(part.startswith(".") for part in relative.parts)


def git_state(root: Path | None = None) -> dict[str, object]:
    """sha and dirty of a git checkout, by default that of this library; both None without one."""
    root = root or Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"sha": None, "dirty": None}
    try:
        sha, status = (
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True, encoding="utf-8").stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return {"sha": None, "dirty": None}
    return {"sha": sha, "dirty": bool(status)}


def versions() -> dict[str, str | None]:
    """Versions of Python, SpectraMind and PACKAGES; None for a package that is not installed."""
    from ariel_lib import __version__

    found = {"python": platform.python_version(), "spectramind": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, object]:
    """Machine, operating system and number of cores; the GPU if torch is imported and has one, or why it cannot be used."""
    torch, gpu = sys.modules.get("torch"), None
    if torch is not None and torch.cuda.is_available():
        try:
            gpu = torch.cuda.get_device_name()
        except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
            gpu = f"unusable: {error}"
    return {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count(), "gpu": gpu}


def read_seconds(summaries: Iterable[Path]) -> dict[str, float]:
    """Seconds of the latest run of each command in these summaries; missing files are ignored.

    Entries of earlier versions have the key `verb` in place of `command`.
    """
    found = {}
    for path in dict.fromkeys(Path(p) for p in summaries):
        found |= {entry.get("command") or entry["verb"]: entry["seconds"] for entry in _entries(path) or ()}
    return found


def _entries(path: Path) -> list[dict] | None:
    """The entries of a summary; None where it is not one: missing, empty or damaged."""
    try:
        entries = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return entries if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) else None


def _summarise(run: Run, manifest: Mapping, written: Path) -> None:
    """Add an entry for the run to the summary in its folder; one that cannot be read is kept under another name."""
    path = run.folder / SUMMARY
    entry = {
        "command": run.command, **manifest[TIMES], "git": manifest["git"], "config_hash": run.config_hash, "seed": run.seed,
        "manifest": written.name, "manifest_sha256": sha256(written),
    }  # fmt: skip
    with locked(path.parent):
        entries = _entries(path)
        if entries is None and path.is_file() and path.stat().st_size:
            logger.warning("%s: expected a list of runs, found something else; it is now %s.damaged", path, path.name)
            path.replace(path.with_name(f"{path.name}.damaged"))
        write_atomically(path, _json([*(entries or ()), entry]))


def _log(run: Run, started: datetime, seconds: float, outcome: str) -> None:
    """Add a line for the run to the log in its folder."""
    path = run.folder / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    short = "none" if run.config_hash is None else run.config_hash[:12]
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        at = started.isoformat(timespec="seconds")
        file.write(f"- {at} `{run.command}` config {short}, seed {run.seed}, {seconds:.1f} s: {outcome}\n")


def _json(value) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
