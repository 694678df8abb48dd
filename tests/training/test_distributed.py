"""training.distributed: two processes give the gradient of the whole batch, end with the same weights and write once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ariel_lib.commands import run_training_on_gpus
from ariel_lib.config import load_config
from ariel_lib.execution.ranks import RankDiedError
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.training import distributed

ROOT = Path(__file__).resolve().parents[2]
GRADIENTS = """
import time  # the first sleeps for longer than the group's time limit
from datetime import timedelta
from functools import partial
import torch
from ariel_lib.training import distributed
distributed.group.init_process_group = partial(distributed.group.init_process_group, timeout=timedelta(seconds=5))
with distributed.joined():
    found = distributed.from_leader(lambda: (time.sleep(7), f"from {distributed.rank()}", list(range(1000)))[1:])
    network = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    x = torch.arange(12.0).reshape(4, 3)[distributed.rank() :: 2]
    network(x).square().mean().backward()
    distributed.average_gradients(network)
    assert found == ("from 0", list(range(1000)))
    line = f"{network.weight.grad.tolist()} {distributed.decided(distributed.rank() == 0)}"
    open(f"rank_{distributed.rank()}", "w").write(line)  # one file each: two processes would mix their lines on one pipe
"""


def run_two_processes(*command, cwd=None):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    torchrun += ["--local-addr", "127.0.0.1"]  # the machine's own name need not resolve
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*torchrun, sys.executable, *command], env=environment, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_single_process_changes_nothing():
    assert (distributed.size(), distributed.rank()) == (1, 0)
    assert distributed.from_leader(lambda: 3) == 3
    assert distributed.decided(True) and not distributed.decided(False)
    network = torch.nn.Linear(2, 1)
    distributed.average_gradients(network)
    assert network.weight.grad is None


def test_two_processes_have_the_result_of_the_first_average_gradients_and_share_one_decision(tmp_path):
    run_two_processes("-c", GRADIENTS, cwd=tmp_path)
    lines = [path.read_text() for path in sorted(tmp_path.glob("rank_*"))]
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0].endswith(" True")
    x, weight = torch.arange(12.0).reshape(4, 3), torch.ones(1, 3, requires_grad=True)
    (x @ weight.T).square().mean().backward()
    np.testing.assert_allclose(json.loads(lines[0].removesuffix(" True")), weight.grad, rtol=1e-6)


@pytest.mark.slow
def test_a_notebook_trains_in_two_processes_and_one_that_is_killed_ends_the_training_in_one_line(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "calibration.workers=1"]
    config = load_config(overrides=[f"data.root={tiny_run.data}", "training.out=out", "training.epochs=3", *small])
    lines = []

    def kill_the_second(line):
        lines.append(line)
        if line.startswith("epoch 1"):
            mine = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_rank(path, "1")]
            assert len(mine) == 1
            os.kill(mine[0], 9)

    with pytest.raises(RankDiedError, match=r"^process 1 of 2 was ended by signal 9 \(Killed\)"):
        run_training_on_gpus(config, processes=2, log=kill_the_second)
    result = run_training_on_gpus(config, processes=2, log=lines.append)
    assert any(line.startswith("goes on after epoch") for line in lines) and result["epochs"] == 3
    assert len(json.loads(Path("out/metrics.json").read_text())["history"]) == 4 and Path("out/manifest_train.json").is_file()
    Checkpoint.load(result["weights"])


def is_rank(process, rank):
    """Whether a process of /proc is a child of this one with that rank."""
    try:
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) == os.getpid() and f"RANK={rank}" in (process / "environ").read_text().split("\0")
    except OSError:
        return False


@pytest.mark.slow
def test_training_under_torchrun_writes_one_checkpoint_and_one_record(tmp_path):
    from ariel_lib.simulator import dataset
    dataset.simulate_dataset(tmp_path / "data", n_planets=12, n_test=2, seed=5, size="toy", level="lightcurves")
    small = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "training.epochs=2"]
    program = "from ariel_lib.cli import app; app()"
    settings = [f"data.root={tmp_path / 'data'}", f"training.out={tmp_path / 'out'}", "training.folds=2", "training.recompute=true"]
    settings += ["training.max_hours=0.1"]
    run_two_processes("-c", program, "train", *settings, *small, cwd=tmp_path)
    assert len(Checkpoint.load(tmp_path / "out" / "weights.safetensors").network.members) == 2
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["history"]) == 6
    assert len((tmp_path / "out" / "logs" / "v50_debug_log.md").read_text().strip().splitlines()) >= 1
    assert not list((tmp_path / "out").glob("state_*"))
