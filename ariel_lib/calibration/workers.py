"""Tasks on processes: one loop that submits, survives a worker's death, and gives up only the task that causes it.

Knows nothing of what a task is.
"""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
DEATHS = 2  # of workers on the same task before it is given up


def run_tasks(tasks: Iterable[T], work: Callable[[T], str | None], workers: int) -> Iterator[tuple[T, str | None]]:
    """Yield each task with what work(task) returned (None: done; text: why not) as it settles, in whatever order.

    Only as many tasks as there are workers are under way, so that when a worker dies these are the suspects. They are
    then tried one at a time: whose worker dies again is the cause. An exception of `work` is a defect and is raised.
    """
    if workers == 1:
        yield from ((task, work(task)) for task in tasks)
        return
    waiting, suspects = deque(tasks), deque()
    deaths: dict[T, int] = {}
    running: dict[Future, T] = {}
    pool = _open_pool(workers)
    try:
        while waiting or suspects or running:
            while (suspects and not running) or (not suspects and waiting and len(running) < workers):
                task = suspects.popleft() if suspects else waiting.popleft()
                running[_submit(pool, work, task)] = task
            settled, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in settled):
                pool.shutdown(cancel_futures=True)
                pool = _open_pool(workers)
                settled = wait(running).done
            for future in settled:
                task = running.pop(future)
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield task, future.result()
                elif deaths.setdefault(task, 0) + 1 < DEATHS:
                    deaths[task] += 1
                    suspects.append(task)
                else:
                    yield task, f"the worker process died {DEATHS} times on this task (out of memory?)"
    finally:
        pool.shutdown(cancel_futures=True)


def _open_pool(workers: int) -> Executor:
    # spawn: a forked child would inherit the parent's Arrow and BLAS threads in whatever state they are
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_take_one_thread)


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
