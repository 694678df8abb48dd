"""ariel_lib.evidence: what the dashboard is given, from the files that lie there."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ariel_lib import evidence
from ariel_lib.archive import ArchiveError

write_run = runpy.run_path(Path(__file__).parents[1] / "benchmarks" / "dashboard.py")["write_run"]


@pytest.fixture
def gathered(tmp_path, monkeypatch):
    """The submission of a small invented run, and a callable that diagnoses it and returns the evidence, undrawn."""
    seen = {}

    def draw(page, given, *, seed):
        seen["given"] = given
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("")
        return {"planets": len(given.planets), "metrics": {}, "missing": given.missing, "files": []}

    monkeypatch.setattr(evidence, "draw_dashboard", draw)
    submission = write_run(tmp_path, 6)

    def run(**settings):
        evidence.diagnose(submission=submission, outdir=tmp_path / "diagnostics", **settings)
        return seen["given"]

    return submission, run


def test_data_and_truth_come_from_the_record_beside_the_submission(gathered):
    _, run = gathered
    given = run()
    assert given.truth.shape == given.mean.shape == (6, 283)
    assert list(given.explained) == list(given.planets) and given.stars["Ts"].notna().all()
    assert set(given.deviations) == set(given.limits) == set(given.gradients) and "microlens" in given.missing


def test_without_truth_weights_and_light_curves_each_is_said_to_be_missing(gathered):
    submission, run = gathered
    for name in ("explanation.safetensors", "housekeeping.csv"):
        submission.with_name(name).unlink()
    given = run(truth="nowhere.csv")
    assert given.truth is None and not given.explanation and given.housekeeping is None
    assert {"explanation", "housekeeping"} <= set(given.missing)


def test_a_clean_flat_spectrum_has_no_violation_and_a_spike_has(gathered):
    _, run = gathered
    wavelength = run().wavelength
    mean, sigma = np.full((2, 283), 0.01), np.full((2, 283), 2e-5)
    mean[1, 140] += 0.002
    deviations, limits, _ = evidence._rules(mean, sigma, wavelength, None)
    broken = np.any([np.abs(d).max(axis=1) > limits[rule] for rule, d in deviations.items()], axis=0)
    assert broken.tolist() == [False, True]


def test_weights_that_did_not_make_the_submission_are_refused(gathered):
    submission, run = gathered
    submission.with_name("explanation.safetensors").unlink()
    record = submission.with_suffix(".json")
    content = json.loads(record.read_text())
    content["origin"]["weights"] = "0" * 64
    record.write_text(json.dumps(content))
    weights = submission.with_name("weights.safetensors")
    weights.write_bytes(b"others")
    with pytest.raises(ValueError, match="expected the weights that made"):
        run(weights=weights)


def test_no_record_and_no_data_is_one_clear_error(gathered):
    submission, run = gathered
    submission.with_suffix(".json").unlink()
    with pytest.raises(ArchiveError, match="Give --data FOLDER"):
        run()


def test_an_explanation_of_other_planets_is_refused(gathered, tmp_path):
    submission, run = gathered
    other = write_run(tmp_path / "other", 9)
    other.with_name("explanation.safetensors").replace(submission.with_name("explanation.safetensors"))
    with pytest.raises(ValueError, match="found 3 others"):
        run()
