"""Parallel execution of tasks in a pool of workers: a task that kills its worker fails, the others are completed.

Workers are processes of this machine or of a cluster (execution.dask_cluster). A pool can be reused for several sets of tasks.
"""

import os
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from threading import Thread
from typing import Generic, TypeVar

from ariel_lib.errors import SpectraMindError

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
DEATHS = 2  # of workers on the same task before the task fails
PATIENCE = 900.0  # s before a worker counts as hung; a full-size visit takes one or two
# Two multi-threaded BLAS on two cores run four times slower; Arrow's own allocator keeps some 100 MB that the system's returns.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT |= {"ARROW_DEFAULT_MEMORY_POOL": "system"}
ORPHANED = 70  # exit code of a worker whose parent process has ended


class WorkerDiedError(RuntimeError):
    """A worker process ended during a task, or the pool was closed."""


@dataclass(frozen=True)
class Failure:
    """Why a task has no result. traceback: of an unexpected exception, which indicates a defect; else empty."""

    reason: str
    traceback: str = ""

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Settled(Generic[T, R]):
    """A completed task with its result or its failure."""

    task: T
    result: R | None = None
    failure: Failure | None = None


def attempt(work: Callable[..., R], /, *arguments: object) -> tuple[R | None, Failure | None]:
    """The result of work(*arguments), or its failure, so that one bad planet does not end the work on all others.

    Catches every exception. The traceback is kept unless the cause is bad input (SpectraMindError), a file or want of memory.
    """
    try:
        return work(*arguments), None
    except SpectraMindError as error:
        return None, Failure(str(error))
    except (OSError, MemoryError) as error:
        return None, Failure(f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 (reported with its traceback; the run's exit code says so)
        return None, Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


class WorkerPool:
    """`size` executors with one task each at a time, replaced when they die. Closing the pool ends them all.

    death     exception of a future whose worker died
    patience  s after which a worker counts as hung and is killed; None: never
    """

    def __init__(
        self, size: int, open_executor: Callable[[], Executor], death: type[Exception], patience: float | None = None
    ):
        self.size, self.death, self.patience, self.closed = size, death, patience, False
        self._open_executor, self._idle, self._busy = open_executor, [], []

    def start(self) -> None:
        """Start all workers before the first task."""
        self._idle += [self._open_executor() for _ in range(self.size - len(self._idle) - len(self._busy))]

    def take(self) -> Executor:
        """An idle executor, marked as busy. Raises WorkerDiedError once the pool is closed."""
        if self.closed:
            raise WorkerDiedError("the pool was closed")
        self._busy.append(self._idle.pop() if self._idle else self._open_executor())
        return self._busy[-1]

    def give_back(self, executor: Executor, *, alive: bool) -> None:
        """Return an executor to the idle ones, or shut it down if it died or the pool is closed."""
        self._busy.remove(executor)
        if alive and not self.closed:
            self._idle.append(executor)
        else:
            executor.shutdown(wait=False)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut down all executors without waiting, since a worker may hang."""
        self.closed = True
        for executor in (*self._idle, *self._busy):
            executor.shutdown(wait=False)
        self._idle.clear()


def local_pool(number: int, *, imports: Iterable[str] = (), patience: float = PATIENCE) -> WorkerPool:
    """A pool of worker processes on this machine; with number=1 tasks run in this process.

    imports  modules that a worker imports when it starts, before its first task
    """
    if number == 1:
        return WorkerPool(1, InProcess, WorkerDiedError)
    return WorkerPool(number, lambda: WorkerProcess(tuple(imports)), WorkerDiedError, patience)


def as_pool(workers: int | WorkerPool) -> AbstractContextManager[WorkerPool]:
    """A context manager of a pool: the given one, left open, or a new one of `workers` processes, closed at the end."""
    return nullcontext(workers) if isinstance(workers, WorkerPool) else local_pool(workers)


def run_tasks(tasks: Iterable[T], work: Callable[[T], R], workers: int | WorkerPool) -> Iterator[Settled[T, R]]:
    """Yield each task with the result of work(task) or its failure, in the order of completion.

    workers  number of processes, 1 for this one, or a pool

    A task whose worker died or was killed is tried once more, alone, after the others: on a cluster all tasks of a dead worker
    fail with it. An exception of `work` is a failure of that task alone.
    """
    waiting, suspects, deaths = deque(tasks), deque(), Counter()
    running: dict[Future, tuple[T, Executor, float]] = {}
    with as_pool(workers) as pool:
        try:
            while waiting or running or suspects:
                while len(running) < pool.size and (waiting or (suspects and not running)):
                    task, executor = (waiting or suspects).popleft(), pool.take()
                    running[executor.submit(attempt, work, task)] = task, executor, time.monotonic()
                for future in wait(running, timeout=pool.patience, return_when=FIRST_COMPLETED).done:
                    task, executor, _ = running.pop(future)
                    died = isinstance(future.exception(), pool.death)
                    pool.give_back(executor, alive=not died)
                    if not died:
                        yield Settled(task, *future.result())
                        continue
                    deaths[task] += 1
                    if deaths[task] < DEATHS:
                        suspects.append(task)
                    else:
                        reason = f"a worker died each time this task was tried (out of memory?): {future.exception()}"
                        yield Settled(task, failure=Failure(reason))
                for _, executor, began in running.values():
                    if pool.patience and time.monotonic() - began > pool.patience:
                        executor.shutdown(wait=False)
        finally:
            for future, (_, executor, _) in running.items():
                future.cancel()
                pool.give_back(executor, alive=False)


class InProcess(Executor):
    """Executor in this process: a task runs when it is submitted."""

    def submit(self, work: Callable, /, *arguments: object) -> Future:
        future: Future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 (result() raises it)
            future.set_exception(error)
        return future


class WorkerProcess(Executor):
    """Executor in a spawned process, one task at a time, that can be killed during a task.

    ProcessPoolExecutor waits for its processes at exit, for ever if one hangs; this process ends with its parent.
    """

    def __init__(self, imports: tuple[str, ...] = ()):
        # spawn: a forked child would inherit the parent's Arrow and BLAS threads in an undefined state
        spawn = get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, imports), daemon=True)
        with _environment(ENVIRONMENT):  # set before the start, since its main module may import numpy and Arrow
            self._process.start()
        theirs.close()  # so that recv raises EOFError when the process ends

    def submit(self, work: Callable, /, *arguments: object) -> Future:
        future: Future = Future()
        future.set_running_or_notify_cancel()
        Thread(target=self._fulfil, args=(future, work, arguments), daemon=True).start()
        return future

    def _fulfil(self, future: Future, work: Callable, arguments: tuple) -> None:
        try:
            self._pipe.send((work, arguments))
            error, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            error, value = WorkerDiedError(f"exit code {self._process.exitcode}"), None
        except Exception as unsendable:  # noqa: BLE001 (result() raises it)
            error, value = unsendable, None
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables within the context, for processes started there."""
    kept = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection, imports: tuple[str, ...]) -> None:
    """Main loop of a worker: run tasks from the pipe until it is closed.

    A thread watches the parent process, so that a worker also ends during a task when the parent was killed.
    """
    Thread(target=_end_with_parent, daemon=True).start()
    for module in imports:
        import_module(module)
    while True:
        try:
            work, arguments = pipe.recv()
        except EOFError:
            return
        try:
            outcome = None, work(*arguments)
        except Exception as error:  # noqa: BLE001 (sent to the main process, which raises it)
            outcome = error, None
        pipe.send(outcome)


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(ORPHANED)
