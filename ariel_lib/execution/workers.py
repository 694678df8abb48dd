"""Tasks on workers: one loop that submits them, survives a worker's death, and fails only the task that causes it.

The workers are processes of this machine or those of a cluster (dask_cluster.py): a pool, kept from one set of tasks to the
next. Independent of what a task is.
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
DEATHS = 2  # of workers on the same task before it fails
PATIENCE = 900.0  # s; a full-size visit takes one or two
# Two BLAS teams on two cores run four times slower; Arrow's own allocator keeps some 100 MB that the system's gives back.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT |= {"ARROW_DEFAULT_MEMORY_POOL": "system"}
ORPHANED = 70  # exit code of a worker whose main process is gone


class WorkerDiedError(RuntimeError):
    """A worker process ended in the middle of a task, or the pool was closed meanwhile."""


@dataclass(frozen=True)
class Failure:
    """Why a piece of work has no result. traceback: of an exception that nothing foresaw, a defect; empty for any other."""

    reason: str
    traceback: str = ""

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Settled(Generic[T, R]):
    """A task that has ended: its result, or its failure."""

    task: T
    result: R | None = None
    failure: Failure | None = None


def attempt(work: Callable[..., R], /, *arguments: object) -> tuple[R | None, Failure | None]:
    """The result of work(*arguments), or why it failed: one bad planet must not end the work on all others.

    The one place that catches every exception. But for bad input, files and memory it keeps the traceback, for the run's report.
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
    """Executors for tasks: `size` of them, each with one task at a time, replaced when it dies. Closing the pool ends them all.

    death     what a future raises whose worker died on it
    patience  s after which a worker is taken to hang on its task, and ended
    """

    def __init__(
        self, size: int, open_executor: Callable[[], Executor], death: type[Exception], patience: float | None = None
    ):
        self.size, self.death, self.patience, self.closed = size, death, patience, False
        self._open_executor, self._idle, self._busy = open_executor, [], []

    def start(self) -> None:
        """Have all workers started, so that they are ready when the first tasks come."""
        self._idle += [self._open_executor() for _ in range(self.size - len(self._idle) - len(self._busy))]

    def take(self) -> Executor:
        """A worker without a task. Raises WorkerDiedError once the pool is closed."""
        if self.closed:
            raise WorkerDiedError("the pool was closed")
        self._busy.append(self._idle.pop() if self._idle else self._open_executor())
        return self._busy[-1]

    def give_back(self, executor: Executor, *, alive: bool) -> None:
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
        """Nobody is waited for: a worker that hangs must not keep the session."""
        self.closed = True
        for executor in (*self._idle, *self._busy):
            executor.shutdown(wait=False)
        self._idle.clear()


def local_pool(number: int, *, imports: Iterable[str] = (), patience: float = PATIENCE) -> WorkerPool:
    """Processes of this machine, 1 being this one.

    imports  modules that a worker loads as soon as it starts, before its first task
    """
    if number == 1:
        return WorkerPool(1, InProcess, WorkerDiedError)
    return WorkerPool(number, lambda: WorkerProcess(tuple(imports)), WorkerDiedError, patience)


def as_pool(workers: int | WorkerPool) -> AbstractContextManager[WorkerPool]:
    """The pool, which stays open afterwards, or so many processes, which do not."""
    return nullcontext(workers) if isinstance(workers, WorkerPool) else local_pool(workers)


def run_tasks(tasks: Iterable[T], work: Callable[[T], R], workers: int | WorkerPool) -> Iterator[Settled[T, R]]:
    """Yield each task with the result of work(task), or its failure, as it settles, in whatever order.

    A task whose worker died, or hung and was ended, is tried once more, alone, when the others are settled: on a cluster a
    death is blamed on all tasks that the worker had. An exception of `work` is a failure of that task alone.

    workers  a number of processes, 1 being this one, or a pool
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
    """This process: a task is done when it is submitted."""

    def submit(self, work: Callable, /, *arguments: object) -> Future:
        future: Future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 (handed on: result() raises it)
            future.set_exception(error)
        return future


class WorkerProcess(Executor):
    """A process of its own, with one task at a time, that can be ended whatever it is doing.

    concurrent.futures waits at exit for its processes, and so for ever for one that hangs; this one ends with its parent.
    """

    def __init__(self, imports: tuple[str, ...] = ()):
        # spawn: a forked child would inherit the parent's Arrow and BLAS threads in whatever state they are
        spawn = get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, imports), daemon=True)
        with _environment(ENVIRONMENT):  # before it starts: its main module may import numpy and Arrow first thing
            self._process.start()
        theirs.close()  # so that its end is seen at this one

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
        except Exception as unsendable:  # noqa: BLE001 (handed on: result() raises it)
            error, value = unsendable, None
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """These environment variables for what is started meanwhile."""
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
    """A worker's life: do what comes through the pipe until that ends.

    In the middle of a task a worker must see for itself that the main process was killed.
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
        except Exception as error:  # noqa: BLE001 (handed to the main process, which raises it)
            outcome = error, None
        pipe.send(outcome)


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(ORPHANED)
