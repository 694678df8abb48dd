import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ariel_lib.execution.workers import WorkerDiedError, WorkerPool, local_pool, run_tasks

# Tasks are Python expressions and the work is eval: both reach a spawned process without this file.
DIE = "__import__('os')._exit(9)"
HANG = "__import__('os').kill(__import__('os').getpid(), __import__('signal').SIGSTOP)"  # not even SIGTERM ends it
WHO = "str(__import__('os').getpid())"


def threads(size: int) -> WorkerPool:
    return WorkerPool(size, lambda: ThreadPoolExecutor(1), LookupError)


@pytest.mark.parametrize("workers", [1, 2, threads(3)], ids=["here", "processes", "pool"])
def test_every_task_settles_once(workers):
    settled = list(run_tasks(["None", "'no file'", "str(3)"], eval, workers))
    assert sorted(settled) == [("'no file'", "no file"), ("None", None), ("str(3)", "3")]


def test_workers_run_one_thread_each_and_this_process_keeps_its_own_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    settled = dict(run_tasks(["__import__('os').environ['OMP_NUM_THREADS']"], eval, 2))
    assert list(settled.values()) == ["1"] and os.environ["OMP_NUM_THREADS"] == "3"


def test_only_the_task_that_kills_its_worker_is_given_up():
    tasks = [f"str({n})" for n in range(4)]
    settled = dict(run_tasks([*tasks[:2], DIE, *tasks[2:]], eval, 2))
    assert "a worker died each time" in settled.pop(DIE)
    assert settled == {task: str(n) for n, task in enumerate(tasks)}


def test_many_deaths_in_a_row_leave_nothing_waiting():
    tasks = [f"{DIE} or {n}" for n in range(3)] + [f"str({n})" for n in range(3)]
    settled = dict(run_tasks(tasks, eval, 2))
    assert [reason.startswith("a worker died") for _, reason in sorted(settled.items())] == [True] * 3 + [False] * 3


def test_a_task_whose_worker_died_is_tried_once_more_alone_after_the_others():
    tried = []

    def work(task):
        tried.append(task)
        if task in "ab":
            raise KeyError(task)

    settled = dict(run_tasks(["a", "b", "c", "d"], work, threads(2)))
    assert sorted(tried) == sorted("aabbcd") and set(tried[-2:]) == {"a", "b"}
    assert {task for task, reason in settled.items() if reason} == {"a", "b"}


def test_a_death_blamed_on_the_innocent_costs_them_nothing():
    accused = []

    def work(task):
        if task not in accused:
            accused.append(task)
            raise KeyError(task)

    assert dict(run_tasks(["a", "b", "c"], work, threads(3))) == {"a": None, "b": None, "c": None}


def test_a_defect_is_raised_not_reported():
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(["1 / 0", "None"], eval, 2))


def test_a_crew_keeps_its_workers_from_one_set_of_tasks_to_the_next_and_ends_them_when_it_closes():
    with local_pool(2) as pool:
        first, second = ({who for _, who in run_tasks([WHO, f"{WHO} "], eval, pool)} for _ in range(2))
    assert second == first and str(os.getpid()) not in first
    for pid in map(int, first):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(WorkerDiedError, match="closed"):
        list(run_tasks([WHO], eval, pool))


def test_a_worker_that_hangs_is_ended_and_only_its_task_given_up():
    with local_pool(2) as pool:
        list(run_tasks(["None", "None "], eval, pool))
        pool.patience = 1.0  # not before they have started
        settled = dict(run_tasks([HANG, "'a'"], eval, pool))
    assert "a worker died each time" in settled[HANG] and settled["'a'"] == "a"


def test_a_worker_loads_what_it_is_told_to_before_its_first_task():
    with local_pool(2, imports=("colorsys",)) as pool:
        assert {answer for _, answer in run_tasks(["str('colorsys' in __import__('sys').modules)"], eval, pool)} == {"True"}


@pytest.mark.parametrize(
    "end",
    ["list(tasks)", "next(tasks); raise SystemExit", "next(tasks); Budget(LEAST_RESERVE + 0.5).within(lambda: next(tasks))"],
    ids=["patience", "an error", "no time left"],
)
def test_a_worker_that_hangs_does_not_keep_a_session_from_ending(end):
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
