from concurrent.futures import ThreadPoolExecutor

import pytest

from ariel_lib.calibration.workers import Crew, run_tasks

# Tasks are Python expressions and the work is eval: both reach a spawned process without this file.
DIE = "__import__('os')._exit(9)"


def threads(size: int, deaths: int = 2) -> Crew:
    return Crew(size, lambda: ThreadPoolExecutor(1), LookupError, deaths)


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


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_task_is_tried_as_often_as_its_crew_says(deaths):
    tried = []

    def work(task):
        tried.append(task)
        raise KeyError(task)

    assert len(list(run_tasks(["a", "b"], work, threads(2, deaths)))) == 2
    assert sorted(tried) == ["a"] * deaths + ["b"] * deaths


def test_a_defect_is_raised_not_reported():
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(["1 / 0", "None"], eval, 2))
