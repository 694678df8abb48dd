"""A worker process: an executor that runs one task at a time in another Python process, which can be killed during a task.

The process is a new interpreter that imports this library and nothing of the caller's main module, so that a notebook, `%run`, `python -m`
and a script without `if __name__ == "__main__"` get the same workers. multiprocessing's spawn and forkserver run that module again.
Work and arguments are pickled: a function must be importable from a module.
"""

import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import ORIGINAL_DIR  # the first working directory of this process, meant by "" in sys.path
from pathlib import Path
from threading import Thread

from ariel_lib.errors import SpectraMindError

# Two multi-threaded BLAS on two cores run four times slower; Arrow's own allocator keeps some 100 MB that the system's returns.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT |= {"ARROW_DEFAULT_MEMORY_POOL": "system"}
ORPHANED = 70  # exit code of a worker whose parent process has ended
LIBRARY = str(Path(__file__).resolve().parents[2])  # the folder of ariel_lib
READY = ""  # first message of a worker; any other text is the reason why it cannot start


class WorkerDiedError(RuntimeError):
    """A worker process ended during a task, or the pool was closed."""


class WorkerStartError(SpectraMindError):
    """A worker process ended before its first task."""


class WorkerProcess(Executor):
    """Executor in one other process, which ends with its parent.

    ProcessPoolExecutor waits for its processes at exit, without end if one hangs.

    imports  modules that the process imports before its first task
    """

    def __init__(self, imports: tuple[str, ...] = ()):
        self._pipe, theirs = Pipe()
        self._started, self._killed = False, ""
        # A new interpreter: a forked one would inherit the parent's Arrow and BLAS threads in an undefined state.
        path = [*(os.fspath(entry) or ORIGINAL_DIR or "" for entry in sys.path), LIBRARY]
        code = f"import sys; sys.path[:] = {path!a}; from {__name__} import serve; serve({theirs.fileno()}, {imports!a})"
        command = [sys.executable, "-X", f"utf8={sys.flags.utf8_mode}", "-c", code]
        environment, passed = os.environ | ENVIRONMENT, (theirs.fileno(),)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=passed)
        theirs.close()  # so that recv raises EOFError when the process ends

    def submit(self, work: Callable, /, *arguments: object) -> Future:
        future: Future = Future()
        future.set_running_or_notify_cancel()
        Thread(target=self._fulfil, args=(future, work, arguments), daemon=True).start()
        return future

    def _fulfil(self, future: Future, work: Callable, arguments: tuple) -> None:
        try:
            self._wait_for_start()
            self._pipe.send((work, arguments))
            text, value = self._pipe.recv()
            error = text and RuntimeError(f"in a worker:\n{text}")
        except (EOFError, OSError):
            death = WorkerDiedError if self._started else WorkerStartError
            error, value = death(f"the worker {self._ending()}" + ("" if self._started else " before its first task")), None
        except Exception as unsendable:  # noqa: BLE001 (result() raises it)
            error, value = unsendable, None
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def _wait_for_start(self) -> None:
        if not self._started:
            if problem := self._pipe.recv():
                raise WorkerStartError(f"the worker cannot import what it needs: {problem}")
            self._started = True

    def _ending(self) -> str:
        """How the process ended, in words."""
        found = ending(self._process)
        return self._killed or found

    def kill(self, why: str) -> None:
        """Kill the process, with a reason for the future of its task."""
        self._killed = why
        self._process.kill()
        self._process.wait()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.kill(self._killed or "was ended with its pool")


def ending(process: subprocess.Popen) -> str:
    """How a process ended, in words; waits for its end."""
    code = process.wait()
    return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"


def serve(descriptor: int, imports: tuple[str, ...]) -> None:
    """Main loop of a worker: run tasks from the connection until it is closed.

    descriptor  file descriptor of the connection
    imports     modules to import before the first task

    A thread polls the connection, so that a worker also ends during a task when its parent was killed.
    """
    pipe = Connection(descriptor)
    Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    try:
        for module in imports:
            import_module(module)
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
    pipe.send(READY)
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_outcome(message))


def _outcome(message: bytes) -> bytes:
    """The pickled result of a pickled (work, arguments), after None; or a traceback and None, where unpickling, work or pickling raised."""
    try:
        work, arguments = pickle.loads(message)
        return pickle.dumps((None, work(*arguments)))
    except Exception:  # noqa: BLE001 (sent to the main process, which raises it)
        return pickle.dumps((traceback.format_exc(), None))


def _end_with_parent(descriptor: int) -> None:
    watch = select.poll()
    watch.register(descriptor, 0)  # no event but the end of the connection
    watch.poll()
    os._exit(ORPHANED)
