"""What a run was made of and what it made: a manifest, a line in the log, an entry in the summary of runs.

A run's folder holds manifest_{command}.json, logs/v50_debug_log.md and run_hash_summary_v50.json: always in the folder of its
output, never in the working directory. All that depends on the clock stands under the one key "times".
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
LARGE = 4 * 2**20  # bytes: of a larger input file its size, first and last megabyte are hashed
TIMES = "times"
logger = logging.getLogger(__name__)


class Run:
    """Filled in while a run goes on: artifacts (paths under its folder), metrics, inputs (name → file or folder)."""

    def __init__(self, command: str, folder: Path, seed: int | None, config_hash: str | None):
        self.command, self.folder, self.seed, self.config_hash = command, folder, seed, config_hash
        self.artifacts: list[Path] = []
        self.metrics: dict = {}
        self.inputs: dict[str, Path] = {}
        self.settings: dict = {}


@contextmanager
def record_run(
    command: str, folder: Path | str, *, seed: int | None = None, config_hash: str | None = None, manifest: str | None = None
) -> Iterator[Run]:
    """Record what happens inside: with record_run('train', out) as run. manifest: its file's name, manifest_{command}.json if not
    given. A run that raises leaves a line in the log only, and none where it had not made its folder yet."""
    run, started, clock = Run(command, Path(folder), seed, config_hash), datetime.now(UTC), time.monotonic()
    try:
        yield run
    except BaseException as error:
        if run.folder.is_dir():
            with suppress(OSError):  # the error itself matters more than its line in the log
                _log(run, started, time.monotonic() - clock, f"failed: {type(error).__name__}: {' '.join(str(error).split())}")
        raise
    try:
        described = describe(run)
        described[TIMES] = {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 2)}
        path = write_atomically(run.folder / (manifest or f"manifest_{command}.json"), _json(described))
        _summarise(run, described, path)
        _log(run, started, time.monotonic() - clock, f"done: {path.name}, {len(run.artifacts)} artifacts")
    except OSError as error:  # a full disk, an input gone: what the run made stands, and must not be lost for want of a record
        logger.warning("%s: the run is done, but its record could not be made: %s", run.folder, error)


def describe(run: Run) -> dict:
    """The manifest of a run but for its times."""
    return {
        "command": run.command, "git": git_state(), "config_hash": run.config_hash, "seed": run.seed, "settings": run.settings,
        "versions": versions(), "hardware": hardware(),
        "inputs": {name: _input(p, run.folder) for name, p in sorted(run.inputs.items())},
        "artifacts": {
            Path(os.path.relpath(p, run.folder)).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)}
            for p in sorted(run.artifacts)
        },
        "metrics": run.metrics,
    }  # fmt: skip


def _input(path: Path, folder: Path) -> dict[str, object]:
    """Where it lies and its fingerprint; for a copy from lakeFS also which commit it is a copy of."""
    found = {"path": os.path.relpath(path, folder), "fingerprint": fingerprint(path)}
    source = source_of(path)
    return found if source is None else found | {"lakefs": source}


def verify_run(manifest: Path | str) -> list[str]:
    """One sentence for everything that is not as the manifest says; none when all is. Raises StorageError for no manifest."""
    manifest = Path(manifest)
    try:
        stated = json.loads(manifest.read_bytes())
        artifacts = dict(stated.get("artifacts") or stated["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
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
    """SHA-256 of a file or of a folder's names, sizes and contents (of files above LARGE, the ends). Hidden files and what
    runs leave (manifests, log, summary) do not count."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and _counts(p.relative_to(path))):
        size = file.stat().st_size
        digest.update(f"{'' if file == path else file.relative_to(path).as_posix()}\0{size}\0".encode())
        digest.update(sha256(file).encode() if size <= LARGE else _ends(file))
    return digest.hexdigest()


def _counts(relative: Path) -> bool:
    left = relative.name == SUMMARY or relative.name.startswith("manifest_") or relative.name == LOG.name
    return not left and not any(part.startswith(".") for part in relative.parts)


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(2**20)
        file.seek(-(2**20), os.SEEK_END)
        return hashlib.sha256(first + file.read()).digest()


def git_state(root: Path | None = None) -> dict[str, object]:
    """sha and dirty of a checkout, by default the one that this library runs from; both None where there is none."""
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
    from ariel_lib import __version__

    found = {"python": platform.python_version(), "spectramind": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, object]:
    """Machine and cores; the GPU where torch is in use and sees one."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    return {"machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count(), "gpu": gpu}


def read_seconds(summaries: Iterable[Path]) -> dict[str, float]:
    """Seconds of the last run of each command in these summaries, a file read once; missing ones are passed over."""
    found = {}
    for path in dict.fromkeys(Path(p) for p in summaries):
        if path.is_file():
            found |= {entry["command"]: entry["seconds"] for entry in json.loads(path.read_bytes())}
    return found


def _summarise(run: Run, manifest: Mapping, written: Path) -> None:
    path = run.folder / SUMMARY
    entries = json.loads(path.read_bytes()) if path.is_file() else []
    entry = {
        "command": run.command, **manifest[TIMES], "git": manifest["git"], "config_hash": run.config_hash, "seed": run.seed,
        "manifest": written.name, "manifest_sha256": sha256(written),
    }  # fmt: skip
    write_atomically(path, _json([*entries, entry]))


def _log(run: Run, started: datetime, seconds: float, outcome: str) -> None:
    path = run.folder / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    short = "none" if run.config_hash is None else run.config_hash[:12]
    with path.open("a", encoding="utf-8") as file:
        file.write(f"- {started.isoformat(timespec='seconds')} `{run.command}` config {short}, seed {run.seed}, {seconds:.1f} s: {outcome}\n")


def _json(value) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
