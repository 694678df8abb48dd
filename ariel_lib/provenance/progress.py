"""What a run says while it runs: running.json in its folder, replaced as it goes on, gone when it has ended either way.

A run that was killed leaves it behind, and its `updated` stands still. Knows nothing of what runs.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ariel_lib.io.storage import write_atomically

RUNNING = "running.json"
EVERY = 1.0  # s between two writings, at least
LINES = 50  # of the log, the last ones
Progress = Callable[[int, int], None]
Log = Callable[[str], None]


@contextmanager
def publish_progress(command: str, folder: Path | str, progress: Progress | None = None, log: Log | None = None) -> Iterator[tuple[Progress, Log]]:
    """Inside, call the yielded progress(done, total) and log(line): they go to the given ones and to folder/running.json.

    Nothing is written where the folder does not exist yet, and a full disk stops no run.
    """
    path, written = Path(folder) / RUNNING, -EVERY
    said = {"command": command, "pid": os.getpid(), "started": _now(), "done": None, "total": None}
    lines: deque[str] = deque(maxlen=LINES)

    def write() -> None:
        nonlocal written
        if time.monotonic() - written < EVERY or not path.parent.is_dir():
            return
        written = time.monotonic()
        with suppress(OSError):
            write_atomically(path, json.dumps(said | {"updated": _now(), "lines": list(lines)}, indent=1).encode())

    def move(done: int, total: int) -> None:
        said.update(done=done, total=total)
        write()
        if progress:
            progress(done, total)

    def note(line: str) -> None:
        lines.append(line)
        write()
        if log:
            log(line)

    write()
    try:
        yield move, note
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
