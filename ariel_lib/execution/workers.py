"""Parallel execution of tasks in a pool of workers. A task whose worker ends abnormally fails; the others are completed.

Workers are processes of this machine or of a cluster (execution.dask_cluster). A pool can be reused for several sets of tasks.
"""

import logging
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.worker_process import WorkerDiedError, WorkerProcess, WorkerStartError

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")
DEATHS = 2  # of workers on the same task before the task fails
PATIENCE = 900.0  # s before a worker counts as hung; a full-size visit takes one or two
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Reason why a task has no result. traceback: that of an unexpected exception, which indicates a defect; else empty."""

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
    """Result of work(*arguments) and None, or None and its failure, so that the tasks on other planets go on.

    Every Exception is caught. The traceback is kept unless the cause is invalid input (SpectraMindError), a file or lack of memory.
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
    """`size` executors with one task each at a time, replaced when their process ends. Closing the pool ends them all.

    A worker that cannot start is not replaced: the pool goes on with the others, and raises WorkerStartError for the last one.

    open_executor  function that starts a worker
    death          exception of a future whose worker has ended
    patience       s after which a worker counts as hung and is killed; None: never
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
        """Mark an executor as idle, or shut it down if its process has ended (alive=False) or the pool is closed."""
        self._busy.remove(executor)
        if alive and not self.closed:
            self._idle.append(executor)
        else:
            executor.shutdown(wait=False)

    def give_up(self, executor: Executor, error: WorkerStartError) -> None:
        """Remove an executor that could not start from the pool. Raises WorkerStartError where no other is left."""
        self.give_back(executor, alive=False)
        self.size -= 1
        if not self.size:
            raise WorkerStartError(f"no worker could be started: {error}. With workers=1 the tasks run in this process.") from error
        logger.warning("%s; the work goes on with %d workers", error, self.size)

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

    A task whose worker ended or was killed is tried once more, alone, after the others: on a cluster all tasks of such a worker are
    lost, not only the one that ended it. An exception of `work` is a failure of that task alone.
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
                    if isinstance(error := future.exception(), WorkerStartError):
                        waiting.appendleft(task)
                        pool.give_up(executor, error)
                        continue
                    died = isinstance(error, pool.death)
                    pool.give_back(executor, alive=not died)
                    if not died:
                        yield Settled(task, *future.result())
                        continue
                    deaths[task] += 1
                    if deaths[task] < DEATHS:
                        suspects.append(task)
                    else:
                        reason = f"a worker died each time this task was tried: {error}"
                        yield Settled(task, failure=Failure(reason))
                for _, executor, began in running.values():
                    if pool.patience and time.monotonic() - began > pool.patience:
                        executor.kill(f"gave no result in {pool.patience:.0f} s and was killed")
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
