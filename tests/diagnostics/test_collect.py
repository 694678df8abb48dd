"""diagnostics.collect: the data of the dashboard, from the files of a run."""

import json

import numpy as np
import pytest

from ariel_lib.diagnostics import collect
from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import spectrum_wavelengths
from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import save_arrays
from ariel_lib.io.submission import write_submission
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.io.writer import write_spectra, write_stars, write_wavelengths
from ariel_lib.simulator.star import draw_star

BANDS = 6


def write_run(out, n):
    """Files of a run over n planets with random content: data set without light curves, submission, explanation."""
    rng, wavelength = np.random.default_rng(0), spectrum_wavelengths()
    planets = [str(1000 + row) for row in range(n)]
    stars = [draw_star(rng, planet) for planet in planets]
    truth = rng.uniform(0.005, 0.02, (n, 1)) + rng.normal(0, 1e-4, (n, 283))
    data, path = out / "data", out / "run" / "submission.csv"
    data.mkdir(parents=True)
    write_wavelengths(data, wavelength)
    write_stars(data, "test", stars)
    for name in ("train", "test"):
        write_spectra(data / f"{name}.csv", Spectra(tuple(planets), truth))
    mean = truth + rng.normal(0, 5e-5, truth.shape)
    write_submission(path, planets, mean, np.full_like(mean, 5e-5), fallback=(truth.mean(axis=0), 0.01))
    path.with_suffix(".json").write_text(json.dumps({"answered": n, "source": {"data": str(data.resolve())}}))
    shapes = {"embedding": (n, 4), "gates": (n, 283, 3), "correction": (n, BANDS)} | {
        f"{method}{part}": (n, BANDS, *rest)
        for method in ("ig", "shap") for part, rest in (("", (283,)), ("_rest", (2,)), ("_error", ()))
    }  # fmt: skip
    arrays = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    save_arrays(path.with_name("explanation.safetensors"), arrays, {"planet_ids": json.dumps(planets)})
    return path


@pytest.fixture
def diagnosed(tmp_path, monkeypatch):
    """The submission of a small run, and a function that diagnoses it and returns the dashboard data, without drawing."""
    received = []

    def draw(page, data, *, seed):
        received.append(data)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("")
        return {"planets": len(data.planets), "metrics": {}, "missing": data.missing, "files": []}

    monkeypatch.setattr(collect, "draw_dashboard", draw)
    submission = write_run(tmp_path, 6)

    def run(weights=None, truth=None):
        record = SubmissionRecord.of(submission, weights, truth)
        collect.diagnose(record, record.dataset(), tmp_path / "diagnostics")
        return received[-1]

    return submission, run


def test_data_set_and_truth_come_from_the_record(diagnosed):
    _, run = diagnosed
    data = run()
    assert data.truth.shape == data.mean.shape == (6, 283)
    assert list(data.explained) == list(data.planets) and data.stars["Ts"].notna().all()
    assert set(data.deviations) == set(data.limits) == set(data.gradients) and "lensing_bump" in data.missing


def test_planets_without_a_true_spectrum_are_left_out_of_the_page_and_named(diagnosed):
    submission, run = diagnosed
    path, whole = submission.parents[1] / "data" / "test.csv", run()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:4], *lines[5:]]) + "\n")
    data, kept = run(), [1, 2, 4, 5]
    assert list(data.planets) == list(data.explained) == [whole.planets[n] for n in kept]
    for name in ("mean", "sigma", "truth"):
        np.testing.assert_array_equal(getattr(data, name), getattr(whole, name)[kept])
    np.testing.assert_array_equal(data.explanation["embedding"], whole.explanation["embedding"][kept])
    assert data.naive == whole.naive and f"of 2 planets, such as {whole.planets[0]}, {whole.planets[3]}" in data.missing["true spectra"]
    path.write_text(lines[0] + "\n" + lines[1].replace(whole.planets[0], "7") + "\n")
    data = run()
    assert data.truth is None and list(data.planets) == list(whole.planets) and "of none of the 6" in data.missing["true spectra"]


def test_missing_parts_are_listed(diagnosed):
    submission, run = diagnosed
    submission.with_name("explanation.safetensors").unlink()
    (submission.parents[1] / "data" / "test.csv").unlink()
    data = run()
    assert data.truth is None and not data.explanation and data.calibration_quality is None
    assert {"explanation", "calibration_quality", "lensing_bump"} <= set(data.missing) and "training labels" not in data.missing


def test_a_naive_answer_that_is_not_of_the_training_labels_is_noted(diagnosed):
    submission, run = diagnosed
    (submission.parents[1] / "data" / "train.csv").unlink()
    assert "not the challenge's score" in run().missing["training labels"]


def test_rules_flag_a_spike_and_not_a_flat_spectrum(diagnosed):
    _, run = diagnosed
    wavelength = run().wavelength
    mean, sigma = np.full((2, 283), 0.01), np.full((2, 283), 2e-5)
    mean[1, 140] += 0.002
    deviations, limits, _ = collect._rules(mean, sigma, wavelength, None)
    broken = np.any([np.abs(d).max(axis=1) > limits[rule] for rule, d in deviations.items()], axis=0)
    assert broken.tolist() == [False, True] and "lensing_bump" not in limits
    detections, _, _ = collect._rules(mean, sigma, wavelength, [None, []])
    assert np.isnan(detections["lensing_bump"][0]).all() and (detections["lensing_bump"][1] == 0).all()


def test_weights_of_another_submission_raise(diagnosed):
    submission, run = diagnosed
    submission.with_name("explanation.safetensors").unlink()
    record = submission.with_suffix(".json")
    content = json.loads(record.read_text())
    content["source"]["weights"] = "0" * 64
    record.write_text(json.dumps(content))
    weights = submission.with_name("weights.safetensors")
    weights.write_bytes(b"others")
    with pytest.raises(ValueError, match="expected the weights of"):
        run(weights=weights)


def test_without_a_record_the_data_set_must_be_given(diagnosed):
    submission, run = diagnosed
    submission.with_suffix(".json").unlink()
    with pytest.raises(ArchiveError, match="Give --data FOLDER"):
        run()


def test_an_explanation_of_other_planets_raises(diagnosed, tmp_path):
    submission, run = diagnosed
    other = write_run(tmp_path / "other", 9)
    other.with_name("explanation.safetensors").replace(submission.with_name("explanation.safetensors"))
    with pytest.raises(ValueError, match="found 3 others"):
        run()
