"""execution.workers: every task completes once; a worker that dies or hangs fails only its own task."""

import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ariel_lib.execution.worker_process import LIBRARY, WorkerDiedError, WorkerStartError
from ariel_lib.execution.workers import Failure, WorkerPool, local_pool, run_tasks

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
    assert settled.pop(DIE) == "a worker died each time this task was tried: the worker ended with exit code 9"
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
    assert settled[HANG] == "a worker died each time this task was tried: the worker gave no result in 1 s and was killed"
    assert settled["'a'"] == "a"


def test_a_worker_killed_by_the_system_names_the_signal():
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    assert outcomes(run_tasks([kill], eval, 2))[kill].endswith("the worker was ended by signal 9 (Killed)")


def test_a_worker_that_cannot_start_ends_the_run_when_it_is_the_last(caplog):
    none = r"no worker could be started.*no_such_module"
    with local_pool(2, imports=("no_such_module",)) as pool, pytest.raises(WorkerStartError, match=none):
        list(run_tasks(["None", "None "], eval, pool))
    assert "goes on with 1 workers" in caplog.text


def test_work_goes_on_with_the_workers_that_start():
    class Never(ThreadPoolExecutor):
        def submit(self, *_):
            future = Future()
            future.set_exception(WorkerStartError("no memory"))
            return future

    opened = iter([Never, ThreadPoolExecutor, Never])
    with WorkerPool(3, lambda: next(opened)(1), Death) as pool:
        assert outcomes(run_tasks("abcd", str.upper, pool)) == {"a": "A", "b": "B", "c": "C", "d": "D"}
        assert pool.size == 1


@pytest.mark.parametrize("task", ["(n for n in 'ab')", "lambda: 1"])
def test_a_result_that_cannot_be_sent_is_an_error_and_no_death(task):
    with pytest.raises(Exception, match="pickle"):
        list(run_tasks([task], eval, 2))


def test_work_that_a_worker_cannot_import_is_an_error_and_no_death():
    script = "from ariel_lib.execution.workers import run_tasks\ndef work(task): pass\nlist(run_tasks([1, 2], work, 2))"
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True)
    assert done.returncode == 1 and "Can't get attribute 'work' on <module '__main__'" in done.stderr


def test_a_worker_ends_during_its_task_when_its_parent_is_killed(tmp_path):
    task = f"__import__('pathlib').Path({str(tmp_path / 'pid')!r}).write_text({PID}) and __import__('time').sleep(600)"
    script = f"from ariel_lib.execution.workers import run_tasks\nlist(run_tasks([{task!r}], eval, 2))"
    parent, deadline = subprocess.Popen([sys.executable, "-c", script]), time.monotonic() + 30
    while not (tmp_path / "pid").is_file() or not (text := (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while Path(f"/proc/{text}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


PLAIN = "from ariel_lib.execution.workers import run_tasks\nprint(sorted(one.result for one in run_tasks(['3', '4'], eval, 2)))\n"
WITH_FILE = "__file__ = 'plain.py'\nexec(open(__file__).read())"
WITHOUT_FILE = "exec(open('plain.py').read())"  # as cells of an editor
NOTEBOOK = """import nbformat.v4 as v4
from nbclient import NotebookClient
book = NotebookClient(v4.new_notebook(cells=[v4.new_code_cell(open('plain.py').read())])).execute()
print("".join(output.text for output in book.cells[0].outputs), end="")
"""
RUN = "get_ipython().run_line_magic('run', 'plain.py')"


@pytest.mark.parametrize(
    "how",
    [["plain.py"], ["-m", "plain"], ["-c", WITH_FILE], ["-c", WITHOUT_FILE], ["-c", NOTEBOOK], ["-m", "IPython", "--no-banner", "-c", RUN]],
    ids=["script", "module", "__file__ set", "no __file__", "nbclient", "%run"],
)
def test_workers_do_not_run_the_main_module_of_the_caller(tmp_path, how):
    for name in ("IPython", "nbclient"):
        if any(name in text for text in how):
            pytest.importorskip(name)
    (tmp_path / "plain.py").write_text(PLAIN)
    done = subprocess.run([sys.executable, *how], cwd=tmp_path, timeout=60, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "[IPKernelApp]" not in line]  # a kernel on its own connection
    assert done.stdout == "[3, 4]\n" and not said


def test_workers_import_the_library_of_their_parent_after_a_change_of_folder(tmp_path):
    script = "import os\nfrom ariel_lib.execution.workers import run_tasks\nos.chdir('/')\n"
    script += "print(*[one.result for one in run_tasks(['7'], eval, 2)])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    (tmp_path / "ariel_lib").symlink_to(LIBRARY + "/ariel_lib")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, timeout=60, capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr


def test_a_worker_imports_the_given_modules_before_its_first_task():
    with local_pool(2, imports=("colorsys",)) as pool:
        assert {one.result for one in run_tasks(["str('colorsys' in __import__('sys').modules)"], eval, pool)} == {"True"}


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("print(sum(one.failure is None for one in tasks))", 0, ("1\n", "")),
        ("next(tasks); raise SystemExit(7)", 7, ("", "")),
        ("next(tasks); Budget(LEAST_RESERVE + 0.5).within(lambda: next(tasks))", 1, ("", "OutOfTimeError: stopped after")),
    ],
    ids=["patience", "an error", "no time left"],
)
def test_a_hung_worker_does_not_keep_the_process_from_ending(end, code, said):
    script = f"""
from ariel_lib.execution.time_budget import LEAST_RESERVE, Budget
from ariel_lib.execution.workers import local_pool, run_tasks
with local_pool(2) as pool:
    list(run_tasks(["None", "None "], eval, pool))
    pool.patience = {0.5 if code == 0 else 900}
    tasks = run_tasks([{HANG!r}, "str(1)"], eval, pool)
    {end}
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, said[0]) and said[1] in done.stderr, done.stderr
    assert time.monotonic() - began < 30
