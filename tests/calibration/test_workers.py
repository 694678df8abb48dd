from concurrent.futures import ThreadPoolExecutor

import pytest

from ariel_lib.calibration.workers import Crew, run_tasks

# Tasks are Python expressions and the work is eval: both reach a spawned process without this file.
DIE = "__import__('os')._exit(9)"


def threads(size: int) -> Crew:
    return Crew(size, lambda: ThreadPoolExecutor(1), LookupError)


@pytest.mark.parametrize("workers", [1, 2, threads(3)], ids=["here", "processes", "crew"])
def test_every_task_settles_once(workers):
    settled = list(run_tasks(["None", "'no file'", "str(3)"], eval, workers))
    assert sorted(settled) == [("'no file'", "no file"), ("None", None), ("str(3)", "3")]


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
