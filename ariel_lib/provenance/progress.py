"""State of a run in progress: running.json in its folder, rewritten at each step and removed when the run ends or fails.

After a killed run the file remains, with an old time under `updated`.
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
EVERY = 1.0  # s, shortest time between two writes
LINES = 50  # last lines of the log that are kept
Progress = Callable[[int, int], None]
Log = Callable[[str], None]


@contextmanager
def publish_progress(
    command: str, folder: Path | str, progress: Progress | None = None, log: Log | None = None
) -> Iterator[tuple[Progress, Log]]:
    """Context manager that yields functions progress(done, total) and log(line), which write folder/running.json.

    progress, log  functions to call as well, or None

    Nothing is written while the folder does not exist. An OSError of these writes is ignored.
    """
    path, written = Path(folder) / RUNNING, -EVERY
    state = {"command": command, "pid": os.getpid(), "started": _now(), "done": None, "total": None}
    lines: deque[str] = deque(maxlen=LINES)

    def write() -> None:
        nonlocal written
        if time.monotonic() - written < EVERY or not path.parent.is_dir():
            return
        written = time.monotonic()
        with suppress(OSError):
            write_atomically(path, json.dumps(state | {"updated": _now(), "lines": list(lines)}, indent=1))

    def move(done: int, total: int) -> None:
        state.update(done=done, total=total)
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
