"""Tasks on workers: one loop that submits, survives a worker's death, and gives up only the task that causes it.

The workers are processes of this machine or those of a cluster (cluster.py): a crew of executors. Knows nothing of what a
task is.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
DEATHS = 2  # of workers on the same task before it is given up
ORPHANED = 70  # exit code of a worker whose main process is gone


@dataclass(frozen=True)
class Crew:
    """Who does the work: `size` executors, each with one task at a time, replaced when it dies.

    death  what a future raises whose worker died on it
    """

    size: int
    open_executor: Callable[[], Executor]
    death: type[Exception]


def processes(number: int) -> Crew:
    """Processes of this machine.

    Every worker is a pool of its own: a death names its task, and no pool ever starts a process while it is being torn
    down, which can leave a shared pool waiting for ever.
    """
    return Crew(number, _open_pool, BrokenProcessPool)


def run_tasks(
    tasks: Iterable[T], work: Callable[[T], str | None], workers: int | Crew
) -> Iterator[tuple[T, str | None]]:
    """Yield each task with what work(task) returned (None: done; text: why not) as it settles, in whatever order.

    A task whose worker died is tried once more, alone, when the others are settled: on a cluster a death is blamed on all
    tasks that the worker had. An exception of `work` is a defect and is raised.

    workers  a number of processes, 1 being this one, or a crew
    """
    if workers == 1:
        yield from ((task, work(task)) for task in tasks)
        return
    crew = processes(workers) if isinstance(workers, int) else workers
    waiting, suspects, deaths = deque(tasks), deque(), Counter()
    idle = [crew.open_executor() for _ in range(min(crew.size, len(waiting)))]
    running: dict[Future, tuple[T, Executor]] = {}
    try:
        while waiting or running or suspects:
            while idle and (waiting or (suspects and not running)):
                task, executor = (waiting or suspects).popleft(), idle.pop()
                running[_submit(executor, work, task)] = task, executor
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, executor = running.pop(future)
                if not isinstance(future.exception(), crew.death):
                    idle.append(executor)
                    yield task, future.result()
                    continue
                executor.shutdown(wait=False)
                idle.append(crew.open_executor())
                deaths[task] += 1
                if deaths[task] < DEATHS:
                    suspects.append(task)
                else:
                    yield task, f"a worker died each time this task was tried (out of memory?): {future.exception()}"
    finally:
        for future in running:
            future.cancel()
        for executor in (*idle, *(executor for _, executor in running.values())):
            executor.shutdown()


def _open_pool() -> Executor:
    # spawn: a forked child would inherit the parent's Arrow and BLAS threads in whatever state they are
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """One thread a worker: set before numpy is first imported there. Two BLAS teams on two cores run four times slower.

    A worker waits for its next task for ever: it must see for itself that the main process was killed.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent_process().join()
    os._exit(ORPHANED)


def _submit(executor: Executor, work: Callable[[T], str | None], task: T) -> Future:
    """A future, which carries the pool's death if the pool was found dead."""
    try:
        return executor.submit(work, task)
    except BrokenProcessPool as error:
        future: Future = Future()
        future.set_exception(error)
        return future
