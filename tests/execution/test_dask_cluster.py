"""execution.dask_cluster: Dask workers give the results of local processes; an unusable cluster raises with its reason."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from socket import create_server
from threading import Thread

import pytest
from typer.testing import CliRunner

from ariel_lib.cli import app
from ariel_lib.execution import dask_cluster as cluster
from ariel_lib.execution.dask_cluster import ClusterError, compare_versions, open_pool
from ariel_lib.execution.workers import run_tasks

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="without the extra [dask]")
HERE = {"python": "3.11.7", "ariel_lib": "1.0", "numba": "0.60"}


def outcomes(settled):
    """task → its result, or the reason of its failure."""
    return {one.task: one.failure.reason if one.failure else one.result for one in settled}


@pytest.fixture(scope="module")
def address():
    import dask
    from distributed import LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": 1})  # the default of three needs as many new workers
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(**options, host="127.0.0.1") as running:
        yield running.scheduler_address


def test_the_workers_complete_every_task(address, tmp_path):
    tasks = [f"str({n})" for n in range(9)]
    with open_pool(address, tmp_path) as pool:
        assert outcomes(run_tasks(tasks, eval, pool)) == {task: str(n) for n, task in enumerate(tasks)}


def test_a_task_that_kills_its_workers_fails_and_the_others_are_completed(address):
    with open_pool(address) as pool:
        settled = outcomes(run_tasks(["'a'", "__import__('os')._exit(9)", "'b'"], eval, pool))
    assert settled.pop("'a'") == "a" and settled.pop("'b'") == "b"
    assert "a worker died each time" in settled.popitem()[1]


def test_a_folder_that_workers_do_not_see_raises(address, tmp_path):
    with pytest.raises(ClusterError, match=r"does not see the folder .*nowhere"), open_pool(address, tmp_path / "nowhere"):
        pass


def test_compare_versions_names_package_and_machine():
    found = {"the scheduler": HERE, "worker a": {**HERE, "numba": "missing"}, "worker b": {**HERE, "ariel_lib": "0.9"}}
    assert compare_versions(HERE, found) == ["worker a lacks numba", "worker b has ariel_lib 0.9, here it is 1.0"]


@pytest.mark.parametrize("there, message", [("missing", r"worker \S+ lacks numba"), ("0.1", r"has numba 0\.1, here it is 1\.0")])
def test_a_cluster_with_other_packages_raises(address, monkeypatch, there, message):
    text = f'{{"numba": "1.0" if __import__("os").getpid() == {os.getpid()} else "{there}"}}'
    monkeypatch.setattr(cluster, "_VERSIONS", text)
    with pytest.raises(ClusterError, match=message), open_pool(address):
        pass


def test_a_scheduler_that_does_not_answer_raises_in_time(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(ClusterError, match="expected a Dask scheduler that answers"), open_pool("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize("there", ["", "http://127.0.0.1:9", "tcp://127.0.0.1", "tls://127.0.0.1:9"])
def test_an_address_that_is_none_ends_the_command_in_one_line(tmp_path, there):
    (tmp_path / "test" / "1").mkdir(parents=True)
    (tmp_path / "test" / "1" / "AIRS-CH0_signal_0.parquet").touch()
    for command in (["calibrate", "--data", tmp_path, "--split", "test", "--out", tmp_path], ["ablate", "--config", "grid.yaml"]):
        done = CliRunner().invoke(app, [*map(str, command), "--scheduler", there])
        assert done.exit_code == 2 and f"{there}: expected a Dask scheduler" in done.stderr


@pytest.mark.parametrize("kind", ["silent", "http", "worker"])
def test_a_server_that_is_no_scheduler_raises_in_time(monkeypatch, address, kind):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    found = "a server that does not answer as one"
    with ExitStack() as running:
        if kind == "worker":
            from distributed import Client

            there, found = next(iter(running.enter_context(Client(address)).scheduler_info()["workers"])), "Worker"
        elif kind == "http":  # as the scheduler's dashboard
            server = running.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler))
            Thread(target=server.serve_forever, daemon=True).start()
            running.callback(server.shutdown)
            there = f"tcp://127.0.0.1:{server.server_address[1]}"
        else:
            there = f"tcp://127.0.0.1:{running.enter_context(create_server(('127.0.0.1', 0))).getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterError, match=f"expected a Dask scheduler .*found {found}"), open_pool(there):
            pass
        assert time.monotonic() - began < 15


def test_a_scheduler_without_workers_raises_in_time(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0", host="127.0.0.1") as empty,
        pytest.raises(ClusterError, match="at least one worker"),
        open_pool(empty.scheduler_address),
    ):
        pass


def test_the_documented_slurm_cluster_starts_workers():
    pytest.importorskip("dask_jobqueue")
    code = (
        "from dask_jobqueue import SLURMCluster; "
        "print(SLURMCluster(cores=1, memory='2GB', walltime='02:00:00', scheduler_options={'host': '127.0.0.1'}).job_script())"
    )
    script = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert script.startswith("#!") and "#SBATCH" in script and "distributed.cli.dask_worker" in script


def test_the_command_calibrates_on_the_cluster_and_a_rerun_skips_all(address, small_frames, tmp_path):
    command = ["calibrate", "--data", str(small_frames), "--split", "train", "--out", str(tmp_path), "--scheduler", address]
    first, second = (json.loads(CliRunner().invoke(app, command).stdout) for _ in range(2))
    assert (first["done"], first["skipped"], first["failed"]) == (3, 0, [])
    assert (second["done"], second["skipped"]) == (0, 3)
