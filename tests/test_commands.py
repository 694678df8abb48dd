"""ariel_lib.commands: manifests of equal runs are equal, and freeze checks its preconditions."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ariel_lib import commands
from ariel_lib.config import ConfigError, load_config
from ariel_lib.provenance.record import TIMES, git_state, verify_run


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one commit, and the manifest of a run of that commit."""
    root = tmp_path / "checkout"
    root.mkdir()
    for command in ("init -q", "config user.email a@b.c", "config user.name a", "commit -q --allow-empty -m one"):
        subprocess.run(["git", "-C", str(root), *command.split()], check=True)
    weights, manifest = tmp_path / "w.bin", tmp_path / "manifest_train.json"
    weights.write_bytes(b"weights")
    files = {"w.bin": {"bytes": 7, "sha256": sha_of(weights)}}
    manifest.write_text(json.dumps({"artifacts": files, "git": git_state(root)}))
    return root, manifest


def sha_of(path):
    from ariel_lib.io.checksums import sha256

    return sha256(path)


@pytest.mark.parametrize(("planets", "folds", "enough"), [(20, 1, False), (37, 1, False), (7, 2, False), (45, 1, True), (20, 2, True)])
def test_too_few_planets_for_corel_end_a_training_before_it_starts(tmp_path, monkeypatch, planets, folds, enough):
    """At 80 % four of seven planets must calibrate: seven that neither fit a network, a fifth or half of all, nor choose its epoch."""
    from ariel_lib.training import loop

    class Started(Exception):
        pass

    def start(*arguments, **settings):
        raise Started

    monkeypatch.setattr(loop, "train", start)
    dataset = SimpleNamespace(labels=lambda: SimpleNamespace(planet_ids=range(planets)), root=tmp_path)
    config = load_config(None, [f"training.out={tmp_path}", "uncertainty.corel=true", f"training.folds={folds}"])
    with pytest.raises(Started if enough else ConfigError, match=None if enough else "uncertainty.corel: .* held-out planets are too few"):
        commands.run_training(config, dataset=dataset)


def passing(deep):
    return {"ok": deep, "checks": {}}


def test_freeze_creates_an_annotated_tag_with_the_manifest(checkout):
    root, manifest = checkout
    commands.freeze("v0-best", manifest, root=root, check=passing)
    kind = subprocess.run(["git", "-C", str(root), "cat-file", "-t", "v0-best"], capture_output=True, text=True, check=True)
    shown = subprocess.run(
        ["git", "-C", str(root), "tag", "-l", "--format=%(contents)", "v0-best"], capture_output=True, text=True, check=True
    )
    assert kind.stdout.strip() == "tag" and json.loads(shown.stdout) == json.loads(manifest.read_bytes())
    with pytest.raises(ValueError, match="already exists"):
        commands.freeze("v0-best", manifest, root=root, check=passing)


def test_freeze_raises_for_a_dirty_tree_changes_another_commit_or_a_failed_self_test(checkout):
    root, manifest = checkout
    with pytest.raises(ValueError, match="self-test failed"):
        commands.freeze("t", manifest, root=root, check=lambda deep: {"ok": False, "checks": {}})
    (root / "new").write_text("x")
    with pytest.raises(ValueError, match="clean tree"):
        commands.freeze("t", manifest, root=root, check=passing)
    (root / "new").unlink()
    subprocess.run(["git", "-C", str(root), "commit", "-q", "--allow-empty", "-m", "two"], check=True)
    with pytest.raises(ValueError, match="expected a run of this commit"):
        commands.freeze("t", manifest, root=root, check=passing)
    (manifest.parent / "w.bin").write_bytes(b"weightz")
    with pytest.raises(ValueError, match="1 changes since the run"):
        commands.freeze("t", manifest, root=root, check=passing)


@pytest.mark.slow
def test_manifests_of_equal_trainings_differ_in_times_only(tmp_path, monkeypatch):
    from ariel_lib.simulator.dataset import simulate_dataset

    simulate_dataset(tmp_path / "data", n_planets=8, n_test=2, seed=0, size="toy", level="lightcurves")
    config = load_config(None, ["data.root=../data", "training.epochs=1", "model.bin_width=40", "calibration.workers=1"])
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        commands.run_training(replace(config, training=replace(config.training, out="out", seed=seed)), log=str)
        manifest = tmp_path / name / "out" / "manifest_train.json"
        assert verify_run(manifest) == []
        found.append(json.loads(manifest.read_bytes()))
        assert found[-1].pop(TIMES)["seconds"] > 0
    assert found[0] == found[1] != found[2]
