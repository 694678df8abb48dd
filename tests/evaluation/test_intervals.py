"""evaluation.intervals (corel-train): a trained checkpoint to intervals, tables and, with update, a checkpoint with COREL sigmas."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ariel_lib.commands import run_intervals
from ariel_lib.config import ConfigError, load_config
from ariel_lib.evaluation import intervals
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.storage import StorageError
from ariel_lib.io.submission import read_submission
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.prediction.predict import predict
from ariel_lib.training import loop
from ariel_lib.training.examples import training_set
from ariel_lib.uncertainty.conformal import TooFewPlanets, planets_needed
from ariel_lib.uncertainty.corel import halves, train_corel
from ariel_lib.uncertainty.temperature import folds_of_planets

pytestmark = pytest.mark.slow
SMALL = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "calibration.workers=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from ariel_lib.simulator import dataset
    root = tmp_path_factory.mktemp("corel")
    dataset.simulate_dataset(root / "data", n_planets=36, n_test=2, seed=5, size="toy", level="lightcurves")
    settings = [f"data.root={root / 'data'}", f"training.out={root / 'v50'}", "training.epochs=1", *SMALL]
    settings += ["training.validation_fraction=0.82", "symbolic.resolution.weight=0.01", "symbolic.lensing_bump.weight=0.01"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "DRAWS_AN_EPOCH", 8)
        config = load_config(None, settings)
        weights = loop.train(training_set(config), config, log=lambda line: None)["weights"]
    return root, weights


def test_the_checkpoint_lists_its_held_out_planets(trained):
    root, weights = trained
    checkpoint = Checkpoint.load(weights)
    assert [len(planets) for planets in checkpoint.held_out] == [21] and checkpoint.corel is None
    assert set(checkpoint.held_out[0]) < set(Archive(root / "data").labels("train").planet_ids)


def test_intervals_tables_and_an_updated_checkpoint(trained, monkeypatch):
    root, weights = trained
    monkeypatch.setattr(intervals, "train_corel", partial(train_corel, steps=20))
    before = predict(Dataset(root / "data"), weights=weights, out=root / "before" / "submission.csv")
    result = run_intervals(weights=Path(weights), outdir=root / "out", q=0.8, update=True)
    table = pd.read_csv(root / "out" / "intervals.csv", dtype={"planet_id": str})
    assert set(table.planet_id) == set(Checkpoint.load(weights).held_out[0])
    assert (table.marginal_lower_wl_5 < table.marginal_upper_wl_5).all()
    assert len(pd.read_csv(root / "out" / "coverage_by_bin.csv")) == 283
    assert json.loads((root / "out" / "coverage.json").read_text())["marginal"] == result["marginal"]
    assert set(result["marginal"]["groups"]) == {"0", "1", "2"} and 0.5 < result["marginal"]["marginal"] <= 1
    assert set(result["score"]) == {"temperature", "corel"}
    after = predict(Dataset(root / "data"), weights=weights, out=root / "after" / "submission.csv")
    (_, mean, sigma), (_, other_mean, other_sigma) = (read_submission(r["submission"]) for r in (before, after))
    assert np.array_equal(mean, other_mean) and not np.allclose(sigma, other_sigma)
    assert (other_sigma > 0).all() and np.isfinite(other_sigma).all()


def test_a_held_out_planet_with_a_doubtful_fit_is_left_out_and_named(trained, monkeypatch, caplog):
    root, weights = trained
    checkpoint, fit_planets = Checkpoint.load(weights), intervals.fit_planets
    doubtful, *rest = checkpoint.held_out[0]

    def with_doubtful(dataset, **settings):
        found = fit_planets(dataset, **settings)
        broken = replace(found.fits[doubtful].estimate, depth=found.fits[doubtful].estimate.depth * np.nan)
        return replace(found, fits=found.fits | {doubtful: replace(found.fits[doubtful], estimate=broken)})

    monkeypatch.setattr(intervals, "fit_planets", with_doubtful)
    dataset = Dataset(root / "data", "train", scratch=Path(weights).parent)
    held_out, _, left_out = intervals._held_out(dataset, checkpoint, Path(weights), 1, None)
    assert set(held_out.planet_ids) == set(rest) and np.isfinite(held_out.mean).all()
    assert list(left_out) == [doubtful] and "not finite" in left_out[doubtful]
    assert [record.getMessage() for record in caplog.records] == [f"held-out planet {doubtful} left out: {left_out[doubtful]}"]


def test_few_planets_give_infinite_intervals_one_warning_and_no_update(trained, tmp_path, caplog, recwarn, monkeypatch):
    _, weights = trained
    monkeypatch.setattr(intervals, "train_corel", partial(train_corel, steps=20))
    checkpoint = Checkpoint.load(weights)
    few = tmp_path / "weights.safetensors"
    replace(checkpoint, held_out=(checkpoint.held_out[0][:5],)).save(few)  # the bias of these is still without them
    write_manifest(tmp_path, [few.name])
    before = few.read_bytes()
    result = run_intervals(weights=Path(few), outdir=tmp_path / "out", q=0.8)
    table = pd.read_csv(tmp_path / "out" / "intervals.csv")
    assert len(table) == 5 and np.isinf(table.filter(like="upper")).all().all()
    assert result["marginal"]["infinite"] == result["joint"]["infinite"] == 1 and set(result["score"]) == {"temperature"}
    json.loads((tmp_path / "out" / "coverage.json").read_text(), parse_constant=pytest.fail)  # no Infinity, no NaN
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and "infinite intervals for 5 of 5 planets" in messages[0] and "10 are needed" in messages[0]
    assert not [warning for warning in recwarn if warning.category is TooFewPlanets]
    with pytest.raises(ConfigError, match="is not updated: 5 held-out planets are too few"):
        run_intervals(weights=Path(few), outdir=tmp_path / "out", q=0.8, update=True)
    assert few.read_bytes() == before
    replace(checkpoint, held_out=(checkpoint.held_out[0][:3],)).save(few)
    with pytest.raises(StorageError, match="The file has changed since the manifest was written"):
        run_intervals(weights=Path(few), outdir=tmp_path / "out", q=0.8)
    write_manifest(tmp_path, [few.name])
    with pytest.raises(ConfigError, match="expected at least 4 held-out planets, found 3"):
        run_intervals(weights=Path(few), outdir=tmp_path / "out", q=0.8)


def test_the_number_of_planets_in_the_warning_is_the_least_sufficient_one():
    for level, enough in ((0.5, 4), (0.8, 10), (0.95, 50)):
        assert intervals._enough(level) == enough
        for n, finite in ((enough, True), (enough - 1, False)):
            known = min(int(fitted.sum()) for fitted, _ in folds_of_planets(n, intervals.FOLDS))
            assert (len(halves(known, 0)[1]) >= planets_needed(level)) == finite or n < intervals.MIN_HELD_OUT


def test_a_folder_without_the_held_out_planets_raises(trained, tmp_path):
    _, weights = trained
    from ariel_lib.simulator import dataset
    dataset.simulate_dataset(tmp_path / "other", n_planets=2, n_test=1, seed=9, size="toy", level="lightcurves")
    with pytest.raises(ConfigError, match="its 21 held-out planets under"):
        run_intervals(weights=Path(weights), outdir=tmp_path, q=0.8, data=tmp_path / "other")
