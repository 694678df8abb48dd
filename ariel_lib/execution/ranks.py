"""Several processes of one job on this machine, each with a rank, as torchrun starts them: all end when one of them fails.

Unlike workers (execution.workers) they talk to each other, by torch.distributed, and none can go on alone. The variables RANK,
LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are torch's.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.worker_process import LIBRARY, ending

HERE = "127.0.0.1"
REFUSED = 2  # exit code of a process that wrote the reason in one line
LINES_KEPT = 3  # of a failed process's standard error, the last ones that say something


class RankDiedError(SpectraMindError):
    """One of the processes failed, and the others were ended."""


def run_ranks(code: str, size: int, log: Callable[[str], None]) -> None:
    """Run Python code in `size` processes, and return when all of them have ended well.

    log  called with each line that the first process prints

    Raises RankDiedError as soon as one of them fails: with its own line where it ended with code 2, else with its rank and ending. The
    processes end with this one.
    """
    environment = os.environ | {"MASTER_ADDR": HERE, "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(size)}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH", "")])), "PYTHONUNBUFFERED": "1"}
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine's own name need not resolve
    ranks = [_Rank(code, rank, environment, log) for rank in range(size)]
    try:
        while running := [rank for rank in ranks if rank.process.poll() is None]:
            _raise_for_dead(ranks)
            running[0].wait(0.2)
        _raise_for_dead(ranks)
    finally:
        for rank in ranks:
            rank.end()


def _raise_for_dead(ranks: list["_Rank"]) -> None:
    dead = [rank for rank in ranks if rank.process.poll()]
    if not dead:
        return
    time.sleep(1.0)  # one that failed by itself, and one that then lost it: the former gives the reason
    dead = sorted((rank for rank in ranks if rank.process.poll()), key=lambda rank: rank.process.returncode != REFUSED)
    refused = next((rank.said() for rank in dead if rank.process.returncode == REFUSED), [])
    if refused:
        raise RankDiedError(refused[-1])
    first = min(dead, key=lambda rank: rank.ended)
    reason = "".join(f": {line}" for line in first.said()[-1:])
    raise RankDiedError(f"process {first.number} of {len(ranks)} {ending(first.process)}{reason}")


class _Rank:
    """One process; its standard error is shown and its last lines are kept."""

    def __init__(self, code: str, number: int, environment: dict[str, str], log: Callable[[str], None]):
        self.number, self.ended, self._last = number, float("inf"), []
        watched = f"from {__name__} import end_with_parent; end_with_parent(); {code}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", watched], env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="backslashreplace",
        )  # fmt: skip
        readers = ((self.process.stdout, log if number == 0 else _unheard), (self.process.stderr, self._keep))
        self._threads = [Thread(target=_read, args=reader, daemon=True) for reader in readers]
        self._threads.append(Thread(target=self._note_end, daemon=True))
        for thread in self._threads:
            thread.start()

    def _keep(self, line: str) -> None:
        self._last = [*self._last, line.strip()][-LINES_KEPT:] if line.strip() else self._last
        print(line, file=sys.stderr)

    def _note_end(self) -> None:
        self.process.wait()
        self.ended = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait for the end, not longer than so many seconds."""
        self._threads[-1].join(seconds)

    def said(self) -> list[str]:
        """Its last lines on standard error."""
        self._threads[1].join(1.0)
        return self._last

    def end(self) -> None:
        """Kill it, if it has not ended, and wait until all that it printed was passed on."""
        self.process.kill()
        for thread in self._threads:
            thread.join(5.0)
        self.process.stdin.close()


def _read(stream, take: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            take(line.rstrip("\n"))


def _unheard(line: str) -> None:
    """What processes other than the first print."""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return found.getsockname()[1]


def end_with_parent() -> None:
    """In one of the processes: end when the process that started it has ended, whose end closes the standard input."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(), whose lock is held when the interpreter ends
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def script(function: str, *arguments: object) -> str:
    """Code that calls a function, "module:name", with arguments; its SpectraMindError is one line and exit code 2."""
    module, name = function.split(":")
    return (
        f"import sys; from {module} import {name}\nfrom ariel_lib.errors import SpectraMindError\n"
        f"try:\n    {name}(*{tuple(map(_plain, arguments))!r})\n"
        f"except SpectraMindError as error:\n    print(' '.join(str(error).split()), file=sys.stderr); sys.exit({REFUSED})\n"
    )


def _plain(argument: object) -> object:
    return str(argument) if isinstance(argument, Path) else argument
