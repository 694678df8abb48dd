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

from ariel_lib.io.checksums import sha256
from ariel_lib.io.lakefs import source_of
from ariel_lib.io.storage import StorageError, write_atomically

SUMMARY = "run_hash_summary_v50.json"
LOG = Path("logs") / "v50_debug_log.md"
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "numba", "safetensors", "torch", "torch-geometric", "hydra-core", "omegaconf")
LARGE = 4 * 2**20  # bytes; of a larger input file only size, first and last MiB are hashed
TIMES = "times"
logger = logging.getLogger(__name__)


class Run:
    """Content of a run's record, filled in by the caller: artifacts (paths under its folder), metrics, inputs (name → path), settings,
    remarks (planet → what went wrong with it)."""

    def __init__(self, command: str, folder: Path, seed: int | None, config_hash: str | None):
        self.command, self.folder, self.seed, self.config_hash = command, folder, seed, config_hash
        self.artifacts: list[Path] = []
        self.metrics: dict = {}
        self.inputs: dict[str, Path] = {}
        self.settings: dict = {}
        self.remarks: dict[str, str] = {}


@contextmanager
def record_run(
    command: str, folder: Path | str, *, seed: int | None = None, config_hash: str | None = None, manifest: str | None = None
) -> Iterator[Run]:
    """Context manager that records a run: with record_run("train", out) as run: …

    manifest  name of the manifest; default: manifest_{command}.json

    A run that raises gets a line in the log only, and none if its folder does not exist.
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


def _input(path: Path, folder: Path) -> dict[str, object]:
    """Path and fingerprint of an input; for a copy from lakeFS also its reference and commit."""
    found = {"path": os.path.relpath(path, folder), "fingerprint": fingerprint(path)}
    source = source_of(path)
    return found if source is None else found | {"lakefs": source}


def verify_run(manifest: Path | str) -> list[str]:
    """A sentence for each artifact or input that differs from the manifest. Raises StorageError for a missing or malformed manifest."""
    manifest = Path(manifest)
    try:
        stated = json.loads(manifest.read_bytes())
        artifacts = dict(stated.get("artifacts") or stated["files"])
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
        if not path.exists():
            changes.append(f"input {name} ({path}): missing")
        elif fingerprint(path) != wanted["fingerprint"]:
            changes.append(f"input {name} ({path}): its fingerprint changed")
    return changes


def fingerprint(path: Path | str) -> str:
    """SHA-256 of a file, or of the names, sizes and contents of a folder's files; of files above LARGE only the ends are read.

    Hidden files and the records of runs (manifests, log, summary) are left out.
    """
    path = Path(path)
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and _counts(p.relative_to(path))):
        size = file.stat().st_size
        digest.update(f"{'' if file == path else file.relative_to(path).as_posix()}\0{size}\0".encode())
        digest.update(sha256(file).encode() if size <= LARGE else _ends(file))
    return digest.hexdigest()


def _counts(relative: Path) -> bool:
    """Whether a file enters the fingerprint of its folder."""
    of_a_run = relative.name == SUMMARY or relative.name.startswith("manifest_") or relative.name == LOG.name
    return not of_a_run and not any(part.startswith(".") for part in relative.parts)


def _ends(path: Path) -> bytes:
    """SHA-256 of the first and the last MiB of a file."""
    with path.open("rb") as file:
        first = file.read(2**20)
        file.seek(-(2**20), os.SEEK_END)
        return hashlib.sha256(first + file.read()).digest()


def git_state(root: Path | None = None) -> dict[str, object]:
    """sha and dirty of a git checkout, by default that of this library; both None without one."""
    root = root or Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"sha": None, "dirty": None}
    try:
        sha, status = (
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout.strip()
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
    """Machine, operating system and number of cores; the GPU if torch is imported and has one."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count(), "gpu": gpu}


def read_seconds(summaries: Iterable[Path]) -> dict[str, float]:
    """Seconds of the latest run of each command in these summaries; missing files are ignored. Old entries name it `verb`."""
    found = {}
    for path in dict.fromkeys(Path(p) for p in summaries):
        if path.is_file():
            found |= {entry.get("command") or entry["verb"]: entry["seconds"] for entry in json.loads(path.read_bytes())}
    return found


def _summarise(run: Run, manifest: Mapping, written: Path) -> None:
    """Add an entry for the run to the summary in its folder."""
    path = run.folder / SUMMARY
    entries = json.loads(path.read_bytes()) if path.is_file() else []
    entry = {
        "command": run.command, **manifest[TIMES], "git": manifest["git"], "config_hash": run.config_hash, "seed": run.seed,
        "manifest": written.name, "manifest_sha256": sha256(written),
    }  # fmt: skip
    write_atomically(path, _json([*entries, entry]))


def _log(run: Run, started: datetime, seconds: float, outcome: str) -> None:
    """Add a line for the run to the log in its folder."""
    path = run.folder / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    short = "none" if run.config_hash is None else run.config_hash[:12]
    with path.open("a", encoding="utf-8") as file:
        at = started.isoformat(timespec="seconds")
        file.write(f"- {at} `{run.command}` config {short}, seed {run.seed}, {seconds:.1f} s: {outcome}\n")


def _json(value) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
