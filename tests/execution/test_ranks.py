"""execution.ranks: processes of one job with a rank each; one that fails ends them all, with one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ariel_lib.execution.ranks import RankDiedError, run_ranks, script

ROOT = Path(__file__).parents[2]
LONG = "import time; time.sleep(600)"


def pids(folder):
    return [int(path.read_text()) for path in folder.iterdir()]


def written(folder, then=""):
    """Code that writes the process id to a file named after its rank, and waits until there are two."""
    code = f"import os, pathlib, time; folder = pathlib.Path({str(folder)!r}); "
    code += "(folder / os.environ['RANK']).write_text(str(os.getpid()))\nwhile len(list(folder.iterdir())) < 2: time.sleep(0.02)\n"
    return code + then


def test_each_process_has_a_rank_and_the_lines_of_the_first_are_logged(capfd):
    lines = []
    run_ranks("import os; print(*(os.environ[n] for n in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR')))", 3, lines.append)
    assert lines == ["0 0 3 127.0.0.1"] and capfd.readouterr() == ("", "")


def test_a_process_that_is_killed_ends_the_others_in_one_line(tmp_path):
    dead, began = written(tmp_path, f"os.environ['RANK'] == '1' and os.kill(os.getpid(), 9)\n{LONG}"), time.monotonic()
    with pytest.raises(RankDiedError) as error:
        run_ranks(dead, 2, print)
    assert str(error.value) == "process 1 of 2 was ended by signal 9 (Killed)" and time.monotonic() - began < 60
    for pid in pids(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_exception_is_named_by_its_last_line(tmp_path, capfd):
    with pytest.raises(RankDiedError, match=r"^process 0 of 2 ended with exit code 1: ZeroDivisionError: division by zero$"):
        run_ranks(written(tmp_path, f"os.environ['RANK'] == '0' and 1 / 0\n{LONG}"), 2, print)
    assert "Traceback" in capfd.readouterr().err


def test_a_function_is_called_with_its_arguments_and_its_refusal_is_the_error(tmp_path):
    run_ranks(script("shutil:copyfile", ROOT / "LICENSE", tmp_path / "copy"), 1, print)
    assert (tmp_path / "copy").read_bytes() == (ROOT / "LICENSE").read_bytes()
    with pytest.raises(RankDiedError, match=r"^gone: no such configuration file\."):
        run_ranks(script("ariel_lib.config.compose:find_config", "gone"), 2, print)


def test_the_processes_end_with_the_one_that_started_them(tmp_path):
    code = f"from ariel_lib.execution.ranks import run_ranks\nrun_ranks({written(tmp_path, LONG)!r}, 2, print)"
    parent, deadline = subprocess.Popen([sys.executable, "-c", code]), time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 or not all(path.read_text() for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in pids(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
