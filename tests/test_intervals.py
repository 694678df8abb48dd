"""corel-train: a trained checkpoint becomes intervals, tables and, when asked, a checkpoint whose sigmas they make."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from ariel_lib import intervals, training
from ariel_lib.archive import Archive
from ariel_lib.checkpoint import Checkpoint
from ariel_lib.config import ConfigError, load_config
from ariel_lib.inference import predict
from ariel_lib.intervals import train_intervals
from ariel_lib.submission import read_submission
from ariel_lib.uncertainty.corel import train_corel

pytestmark = pytest.mark.slow
SMALL = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "calibration.workers=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dataset = pytest.importorskip("ariel_lib.simulator.dataset", reason="needs batman")
    root = tmp_path_factory.mktemp("corel")
    dataset.simulate_dataset(root / "data", n_planets=36, n_test=2, seed=5, size="toy", level="lightcurves")
    settings = [f"data.root={root / 'data'}", f"training.out={root / 'v50'}", "training.epochs=1", *SMALL]
    settings += ["training.validation_fraction=0.82", "symbolic.fft.weight=0.01", "symbolic.microlens.weight=0.01"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "DRAWS_AN_EPOCH", 8)
        weights = training.train(load_config(None, settings), log=lambda line: None)["weights"]
    return root, weights


def test_training_says_whom_it_held_out(trained):
    root, weights = trained
    checkpoint = Checkpoint.load(weights)
    assert len(checkpoint.held_out) == 28 and checkpoint.corel is None
    assert set(checkpoint.held_out) < set(Archive(root / "data").labels("train").planet_ids)


@pytest.mark.filterwarnings("ignore::ariel_lib.uncertainty.conformal.TooFewPlanets")
def test_intervals_tables_and_a_checkpoint_whose_sigmas_they_make(trained, monkeypatch):
    root, weights = trained
    monkeypatch.setattr(intervals, "train_corel", partial(train_corel, steps=20))
    before = predict(data=root / "data", split="test", weights=weights, out=root / "before" / "submission.csv")
    result = train_intervals(weights=weights, outdir=root / "out", q=0.8, update=True)
    table = pd.read_csv(root / "out" / "intervals.csv", dtype={"planet_id": str})
    assert set(table.planet_id) == set(Checkpoint.load(weights).held_out)
    assert (table.marginal_lower_wl_5 < table.marginal_upper_wl_5).all()
    assert len(pd.read_csv(root / "out" / "coverage_by_bin.csv")) == 283
    assert json.loads((root / "out" / "coverage.json").read_text())["marginal"] == result["marginal"]
    assert set(result["marginal"]["groups"]) == {"0", "1", "2"} and 0.5 < result["marginal"]["marginal"] <= 1
    assert set(result["score"]) == {"temperature", "corel"}
    after = predict(data=root / "data", split="test", weights=weights, out=root / "after" / "submission.csv")
    (_, mean, sigma), (_, other_mean, other_sigma) = (read_submission(r["submission"]) for r in (before, after))
    assert np.array_equal(mean, other_mean) and not np.allclose(sigma, other_sigma)
    assert (other_sigma > 0).all() and np.isfinite(other_sigma).all()


def test_a_folder_without_the_held_out_planets_is_refused(trained, tmp_path):
    _, weights = trained
    dataset = pytest.importorskip("ariel_lib.simulator.dataset")
    dataset.simulate_dataset(tmp_path / "other", n_planets=2, n_test=1, seed=9, size="toy", level="lightcurves")
    with pytest.raises(ConfigError, match="held out 28 planets, of which"):
        train_intervals(weights=weights, outdir=tmp_path, q=0.8, data=tmp_path / "other")
