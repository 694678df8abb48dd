"""execution.workers: every task completes once; a worker that dies or hangs fails only its own task."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ariel_lib.execution.workers import Failure, WorkerDiedError, WorkerPool, local_pool, run_tasks

# Tasks are Python expressions and the work is eval, so that a spawned process need not import this file.
DIE = "__import__('os')._exit(9)"
HANG = "__import__('os').kill(__import__('os').getpid(), __import__('signal').SIGSTOP)"  # a stopped process ignores SIGTERM
PID = "str(__import__('os').getpid())"


class Death(BaseException):
    """Stands for the end of a worker, which the work itself never raises."""


def threads(size: int) -> WorkerPool:
    return WorkerPool(size, lambda: ThreadPoolExecutor(1), Death)


def outcomes(settled):
    """task → its result, or the reason of its failure."""
    return {one.task: one.failure.reason if one.failure else one.result for one in settled}


@pytest.mark.parametrize("workers", [1, 2, threads(3)], ids=["here", "processes", "pool"])
def test_every_task_completes_once(workers):
    settled = list(run_tasks(["None", "'no file'", "str(3)"], eval, workers))
    assert len(settled) == 3 and outcomes(settled) == {"'no file'": "no file", "None": None, "str(3)": "3"}


def test_workers_are_single_threaded_and_the_parents_environment_is_unchanged(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    settled = outcomes(run_tasks(["__import__('os').environ['OMP_NUM_THREADS']"], eval, 2))
    assert list(settled.values()) == ["1"] and os.environ["OMP_NUM_THREADS"] == "3"


def test_only_the_task_that_kills_its_worker_fails():
    tasks = [f"str({n})" for n in range(4)]
    settled = outcomes(run_tasks([*tasks[:2], DIE, *tasks[2:]], eval, 2))
    assert "a worker died each time" in settled.pop(DIE)
    assert settled == {task: str(n) for n, task in enumerate(tasks)}


def test_many_deaths_in_a_row_leave_no_task_waiting():
    tasks = [f"{DIE} or {n}" for n in range(3)] + [f"str({n})" for n in range(3)]
    settled = outcomes(run_tasks(tasks, eval, 2))
    assert [reason.startswith("a worker died") for _, reason in sorted(settled.items())] == [True] * 3 + [False] * 3


def test_a_task_whose_worker_died_is_retried_alone_after_the_others():
    tried = []

    def work(task):
        tried.append(task)
        if task in "ab":
            raise Death(task)

    settled = outcomes(run_tasks(["a", "b", "c", "d"], work, threads(2)))
    assert sorted(tried) == sorted("aabbcd") and set(tried[-2:]) == {"a", "b"}
    assert {task for task, reason in settled.items() if reason} == {"a", "b"}


def test_a_task_that_succeeds_on_the_second_try_has_a_result():
    died_once = []

    def work(task):
        if task not in died_once:
            died_once.append(task)
            raise Death(task)

    assert outcomes(run_tasks(["a", "b", "c"], work, threads(3))) == {"a": None, "b": None, "c": None}


@pytest.mark.parametrize("workers", [1, 2], ids=["here", "processes"])
def test_an_exception_fails_its_own_task_and_an_unexpected_one_keeps_its_traceback(workers):
    missing = "open('/no/such/file')"
    refused = "(_ for _ in ()).throw(__import__('ariel_lib.errors').errors.SpectraMindError('expected a star'))"
    settled = {one.task: one for one in run_tasks(["1 / 0", missing, refused, "7"], eval, workers)}
    assert settled["7"].result == 7 and settled["7"].failure is None
    defect = settled["1 / 0"].failure
    assert defect.reason == "ZeroDivisionError: division by zero" and "Traceback" in defect.traceback
    assert settled[missing].failure.reason.startswith("FileNotFoundError") and not settled[missing].failure.traceback
    assert settled[refused].failure == Failure("expected a star")


def test_a_pool_reuses_its_workers_and_ends_them_when_closed():
    with local_pool(2) as pool:
        first, second = ({one.result for one in run_tasks([PID, f"{PID} "], eval, pool)} for _ in range(2))
    assert second == first and str(os.getpid()) not in first
    for pid in map(int, first):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(WorkerDiedError, match="closed"):
        list(run_tasks([PID], eval, pool))


def test_a_hung_worker_is_killed_and_only_its_task_fails():
    with local_pool(2) as pool:
        list(run_tasks(["None", "None "], eval, pool))
        pool.patience = 1.0  # set after they have started
        settled = outcomes(run_tasks([HANG, "'a'"], eval, pool))
    assert "a worker died each time" in settled[HANG] and settled["'a'"] == "a"


def test_a_worker_imports_the_given_modules_before_its_first_task():
    with local_pool(2, imports=("colorsys",)) as pool:
        assert {one.result for one in run_tasks(["str('colorsys' in __import__('sys').modules)"], eval, pool)} == {"True"}


@pytest.mark.parametrize(
    "end",
    ["list(tasks)", "next(tasks); raise SystemExit", "next(tasks); Budget(LEAST_RESERVE + 0.5).within(lambda: next(tasks))"],
    ids=["patience", "an error", "no time left"],
)
def test_a_hung_worker_does_not_keep_the_process_from_ending(end):
    script = f"""
from ariel_lib.execution.time_budget import LEAST_RESERVE, Budget
from ariel_lib.execution.workers import local_pool, run_tasks
with local_pool(2) as pool:
    list(run_tasks(["None", "None "], eval, pool))
    pool.patience = {0.5 if end == "list(tasks)" else 900}
    tasks = run_tasks([{HANG!r}, "str(1)"], eval, pool)
    {end}
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True)
    assert time.monotonic() - began < 30
