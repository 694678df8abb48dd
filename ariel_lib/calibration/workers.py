"""Tasks on processes: one loop that submits, survives a worker's death, and gives up only the task that causes it.

Knows nothing of what a task is.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
DEATHS = 2  # of workers on the same task before it is given up


def run_tasks(tasks: Iterable[T], work: Callable[[T], str | None], workers: int) -> Iterator[tuple[T, str | None]]:
    """Yield each task with what work(task) returned (None: done; text: why not) as it settles, in whatever order.

    Every worker is a pool of its own: a death names its task, and no pool ever starts a process while it is being torn
    down, which can leave a shared pool waiting for ever. An exception of `work` is a defect and is raised.
    """
    if workers == 1:
        yield from ((task, work(task)) for task in tasks)
        return
    waiting, deaths = deque(tasks), Counter()
    idle = [_open_pool() for _ in range(workers)]
    running: dict[Future, tuple[T, Executor]] = {}
    try:
        while waiting or running:
            while waiting and idle:
                task, pool = waiting.popleft(), idle.pop()
                running[_submit(pool, work, task)] = task, pool
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, pool = running.pop(future)
                if not isinstance(future.exception(), BrokenProcessPool):
                    idle.append(pool)
                    yield task, future.result()
                    continue
                pool.shutdown(wait=False)
                idle.append(_open_pool())
                deaths[task] += 1
                if deaths[task] < DEATHS:
                    waiting.append(task)
                else:
                    yield task, f"the worker process died {DEATHS} times on this task (out of memory?)"
    finally:
        for pool in (*idle, *(pool for _, pool in running.values())):
            pool.shutdown(cancel_futures=True)


def _open_pool() -> Executor:
    # spawn: a forked child would inherit the parent's Arrow and BLAS threads in whatever state they are
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_take_one_thread)


def _take_one_thread() -> None:
    """One thread a worker: set before numpy is first imported there. Two BLAS teams on two cores run four times slower."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _submit(pool: Executor, work: Callable[[T], str | None], task: T) -> Future:
    """A future, which carries the pool's death if the pool was found dead."""
    try:
        return pool.submit(work, task)
    except BrokenProcessPool as error:
        future: Future = Future()
        future.set_exception(error)
        return future
