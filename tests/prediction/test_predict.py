"""prediction.predict: what is wrong with one planet is said in result, manifest and report, and changes no other planet's row."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ariel_lib.cli import app
from ariel_lib.commands import run_prediction
from ariel_lib.config import load_config, to_dict
from ariel_lib.diagnostics.report import report_from_artifacts
from ariel_lib.execution.time_budget import Budget
from ariel_lib.io import submission
from ariel_lib.io.checksums import sha256, write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import save_light_curves
from ariel_lib.io.storage import load_arrays
from ariel_lib.io.submission import read_submission
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.io.writer import write_stars, write_wavelengths
from ariel_lib.models.device import DeviceError
from ariel_lib.models.ensemble import predict_inputs
from ariel_lib.pipeline import batches
from ariel_lib.pipeline.batches import FIRST_VISIT_ONLY, VISIT, PlanetBatch
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import PlanetFits, fit_planets
from ariel_lib.prediction import predict as prediction
from ariel_lib.prediction import submission_file
from ariel_lib.prediction.predict import MEMBER, Answers
from ariel_lib.transit.population import nuisance_prior

PLANETS = ("7", "12", "13")
NO_KERNEL = RuntimeError("no kernel image is available")


@pytest.fixture(scope="module")
def data(scene, tmp_path_factory):
    """Light curves of three planets, the second with two visits."""
    root, rng = tmp_path_factory.mktemp("predict") / "data", np.random.default_rng(4)
    root.mkdir()
    for planet, visit in (("7", 0), ("12", 0), ("12", 1), ("13", 0)):
        curves = replace(scene.observe(rng, visit=visit), planet_id=planet)
        save_light_curves(light_curves_path(root / "lightcurves", "test", planet, visit), curves)
    write_stars(root, "test", [replace(scene.star, planet_id=planet) for planet in PLANETS])
    write_wavelengths(root, scene.wavelength)
    return root


@pytest.fixture(scope="module")
def weights(make_checkpoint, tmp_path_factory):
    config = to_dict(load_config(overrides=["training.threads=1", "model.initial_estimate=library"]))
    path = replace(make_checkpoint()[0], config=config).save(tmp_path_factory.mktemp("weights") / "weights.safetensors")
    write_manifest(path.parent, [path.name])
    return path


@pytest.fixture(scope="module")
def whole(data, weights, tmp_path_factory):
    """The submission from whole files."""
    out = tmp_path_factory.mktemp("whole") / "submission.csv"
    result = run(data, weights, out)
    assert not result["fallbacks"] and not result["notes"]
    return out


def run(data, weights, out):
    return run_prediction(Dataset(data, "test", planets=PLANETS), weights=weights, out=out)


def rows(path):
    """Planet → its line in a submission."""
    return dict(line.split(",", 1) for line in path.read_text().splitlines())


def copy_of(data, folder):
    """The data set under another name, with the fits that are at hand beside the submission to come."""
    return shutil.copytree(data, folder / "data")


@pytest.fixture
def three_visits_suffice(monkeypatch):
    monkeypatch.setattr(nuisance_prior, "MIN_FITS", 3)


def in_batches_of(size, monkeypatch):
    monkeypatch.setattr(batches, "_next_batch", lambda budget, counts, queue, most_visits, workers: queue[:size])


def written(out):
    return [out.with_name(name).read_bytes() for name in ("submission.csv", "submission.safetensors", "population.safetensors")]


def test_the_visits_at_hand_update_the_population_whatever_the_batches_and_after_a_kill(
    data, weights, whole, tmp_path, three_visits_suffice, monkeypatch
):
    runs = {}
    for size in (1, 3):
        in_batches_of(size, monkeypatch)
        runs[size] = tmp_path / str(size) / "submission.csv"
        run(data, weights, runs[size])
    checkpoint = Checkpoint.load(weights)
    fits = fit_planets(Dataset(data, "test", planets=PLANETS, scratch=tmp_path / "1")).accepted()
    updated = checkpoint.updated_by([planet_fit.estimate for planet_fit in fits.fits.values()])
    assert not np.array_equal(updated.corrections.nuisance_prior.covariance, checkpoint.corrections.nuisance_prior.covariance)
    arrays = load_arrays(runs[1].with_suffix(".safetensors"))[0]
    expected = [planet_fit.estimate.depth for planet_fit in fits.conditioned_on(updated).fits.values()]
    np.testing.assert_array_equal(arrays["depth"], expected)
    assert written(runs[1]) == written(runs[3]) and rows(runs[1])["7"] != rows(whole)["7"]
    population = SubmissionRecord(runs[1]).population()["nuisance_prior"]
    np.testing.assert_array_equal(population, updated.corrections.nuisance_prior.covariance)

    def kill(done, total):
        raise KeyboardInterrupt

    in_batches_of(1, monkeypatch)
    killed = tmp_path / "killed" / "submission.csv"
    with pytest.raises(KeyboardInterrupt):
        prediction.predict(Dataset(data, "test", planets=PLANETS), weights=weights, out=killed, progress=kill)
    assert rows(killed)["7"] == rows(whole)["7"] and not SubmissionRecord(killed).population()  # the weights' population until then
    run(data, weights, killed)
    assert written(killed) == written(runs[3])


def test_without_the_time_to_update_the_population_the_answers_stay_and_the_result_says_so(
    data, weights, whole, tmp_path, three_visits_suffice, monkeypatch
):
    monkeypatch.setattr(prediction, "SECONDS_A_VISIT", 1e9)
    result = prediction.predict(
        Dataset(data, "test", planets=PLANETS), weights=weights, out=tmp_path / "submission.csv", budget=Budget(3600.0)
    )
    assert "population update" in result["skipped"] and rows(tmp_path / "submission.csv") == rows(whole)


def damage(root, planet, visit):
    path = light_curves_path(root / "lightcurves", "test", planet, visit)
    path.write_bytes(path.read_bytes()[:-20])


def test_a_damaged_second_visit_is_named_in_result_manifest_and_report_and_the_planet_is_answered(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    damage(root, "12", 1)
    out = tmp_path / "run" / "submission.csv"
    result = run(root, weights, out)
    assert not result["fallbacks"] and list(result["notes"]) == ["12"] and "visit 1 is left out" in result["notes"]["12"]
    before, after = rows(whole), rows(out)
    assert {planet for planet in before if before[planet] != after[planet]} == {"12"}
    manifest = json.loads((out.parent / "manifest_predict.json").read_text())
    assert manifest["remarks"] == result["notes"]
    page = report_from_artifacts(out, tmp_path / "report.html").read_text()
    assert "Remarks on 1 of 3 planets" in page and "visit 1 is left out" in page
    assert "Remarks" not in report_from_artifacts(whole, tmp_path / "other.html").read_text()


def test_a_planet_without_light_curves_has_the_training_mean_and_the_others_their_rows(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    damage(root, "13", 0)
    out = tmp_path / "run" / "submission.csv"
    result = run(root, weights, out)
    assert list(result["fallbacks"]) == ["13"]
    before, after = rows(whole), rows(out)
    assert {planet for planet in before if before[planet] != after[planet]} == {"13"}
    assert json.loads((out.parent / "manifest_predict.json").read_text())["remarks"]["13"].startswith("training mean: visit 0 is left out")


def test_the_submission_has_planets_and_columns_in_the_order_of_the_sample(data, weights, whole, tmp_path):
    root = copy_of(data, tmp_path)
    names = [f"{kind}_{n}" for n in range(1, len(rows(whole)["planet_id"].split(",")) // 2 + 1) for kind in ("wl", "sigma")]
    blanks = "," * len(names)
    (root / "sample_submission.csv").write_text(f"Unnamed: 0,planet_id,{','.join(names)}\n0,12{blanks}\n{blanks},\n1,7{blanks}\n")
    out = tmp_path / "submission.csv"
    run_prediction(Dataset(root, "test"), weights=weights, out=out)
    assert list(rows(out)) == ["planet_id", "12", "7"] and rows(out)["planet_id"] == ",".join(names)
    (before, mean, sigma), (after, new_mean, new_sigma) = read_submission(whole), read_submission(out)
    order = [before.index(planet) for planet in after]
    assert (new_mean == mean[order]).all() and (new_sigma == sigma[order]).all()


def test_a_table_is_opened_once_by_a_prediction(data, weights, tmp_path, opened):
    root = copy_of(data, tmp_path)
    names = [f"{kind}_{n}" for kind in ("wl", "sigma") for n in range(1, 14)]
    (root / "sample_submission.csv").write_text(f"planet_id,{','.join(names)}\n" + "".join(f"{p}{',' * len(names)}\n" for p in PLANETS))
    opened.clear()  # of the copy, which was written
    run_prediction(Dataset(root, "test"), weights=weights, out=tmp_path / "submission.csv")
    tables = ("sample_submission.csv", "test_star_info.csv", "wavelengths.csv")
    assert {name: opened[str(root / name)] for name in tables} == dict.fromkeys(tables, 1)
    files = json.loads((tmp_path / "manifest_predict.json").read_text())["inputs"]["data"]["files"]
    assert {name: files[name] for name in tables} == {name: sha256(root / name) for name in tables}


def fail_at(monkeypatch, *calls, error=NO_KERNEL):
    """Let the network fail at these of its calls, all without any."""
    made = []

    def predict(network, inputs):
        made.append(network)
        if not calls or len(made) in calls:
            raise error
        return predict_inputs(network, inputs)

    monkeypatch.setattr("ariel_lib.prediction.answer.predict_inputs", predict)


@pytest.mark.parametrize("calls", [(), (2,)], ids=["always", "for the second planet"])
def test_a_planet_whose_network_fails_has_the_initial_estimate_others_their_rows(data, weights, whole, tmp_path, monkeypatch, calls):
    fail_at(monkeypatch, *calls)
    out, failed = tmp_path / "submission.csv", ("12",) if calls else PLANETS
    result = run(data, weights, out)
    assert not result["fallbacks"] and result["closed_form"] == dict.fromkeys(failed, "RuntimeError: no kernel image is available")
    assert set(result["tracebacks"]) == set(result["notes"]) == set(failed)
    before, after = rows(whole), rows(out)
    assert {planet for planet in before if before[planet] != after[planet]} == set(failed)
    arrays, temperature = load_arrays(whole.with_suffix(".safetensors"))[0], Checkpoint.load(weights).temperature
    for planet, mean, sigma in zip(*read_submission(out)):
        if planet in failed:
            row = PLANETS.index(planet)
            np.testing.assert_array_equal(mean, np.maximum(arrays["initial_mean"][row], 0))
            np.testing.assert_array_equal(sigma, temperature.apply(arrays["initial_sigma"][row]))
    manifest = json.loads((tmp_path / "manifest_predict.json").read_text())
    assert manifest["metrics"]["closed_form"] == len(failed) and "initial estimate in place of" in manifest["remarks"]["12"]


def claim_a_gpu(monkeypatch):
    """A GPU that is listed, and fails at once."""

    def no_gpu():
        raise NO_KERNEL

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_lazy_init", no_gpu)


def test_a_gpu_that_fails_after_its_test_costs_no_answer_and_one_warning(data, weights, whole, tmp_path, monkeypatch, caplog):
    claim_a_gpu(monkeypatch)
    monkeypatch.setattr(prediction, "choose_device", lambda wanted, log: "cuda")
    result = run(data, weights, tmp_path / "submission.csv")
    assert (tmp_path / "submission.csv").read_bytes() == whole.read_bytes()
    assert not result["fallbacks"] and not result["closed_form"] and not result["tracebacks"]
    assert set(result["notes"]) == set(PLANETS) and "predicted on the CPU" in result["notes"]["7"]
    (line,) = (record.getMessage() for record in caplog.records if "no kernel image" in record.getMessage())
    assert line.startswith("3 planets (12, 13, 7): predicted on the CPU, since the network failed on cuda")


def test_a_gpu_that_fails_at_once_is_not_used_and_one_line_says_so(data, weights, whole, tmp_path, monkeypatch):
    claim_a_gpu(monkeypatch)
    lines, dataset = [], Dataset(data, "test", planets=PLANETS)
    result = run_prediction(dataset, weights=weights, out=tmp_path / "submission.csv", log=lines.append)
    assert (tmp_path / "submission.csv").read_bytes() == whole.read_bytes() and not result["notes"]
    assert [line for line in lines if "device" in line] == ["device: CPU: cuda fails: RuntimeError: no kernel image is available"]
    with pytest.raises(DeviceError, match="expected a GPU that works, as asked for, found none: cuda fails: RuntimeError: no kernel image"):
        run_prediction(dataset, weights=weights, out=tmp_path / "submission.csv", device="cuda")
    manifest = json.loads((tmp_path / "manifest_predict.json").read_text())
    assert manifest["hardware"]["gpu"].startswith("unusable: ")


def predict_by_command(root, weights, out):
    arguments = ["predict", "--data", root, "--weights", weights, "--out", out]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_ends_with_code_1_where_a_network_fails_without_a_traceback_of_its_own(data, weights, tmp_path, monkeypatch):
    root = copy_of(data, tmp_path)
    names = [f"{kind}_{n}" for kind in ("wl", "sigma") for n in range(1, 14)]
    (root / "sample_submission.csv").write_text(f"planet_id,{','.join(names)}\n7{',' * len(names)}\n")
    fail_at(monkeypatch, error=MemoryError("8 GB"))
    done = predict_by_command(root, weights, tmp_path / "submission.csv")
    assert done.exit_code == 1 and json.loads(done.stdout)["closed_form"] == {"7": "MemoryError: 8 GB"}
    monkeypatch.undo()
    assert predict_by_command(root, weights, tmp_path / "submission.csv").exit_code == 0


def test_where_all_planets_have_the_training_mean_one_line_says_so_with_the_first_reason_and_the_code_is_1(data, weights, tmp_path, caplog):
    root = copy_of(data, tmp_path)
    for planet, visit in (("7", 0), ("12", 0), ("12", 1), ("13", 0)):
        damage(root, planet, visit)
    names = [f"{kind}_{n}" for kind in ("wl", "sigma") for n in range(1, 14)]
    (root / "sample_submission.csv").write_text(f"planet_id,{','.join(names)}\n" + "".join(f"{p}{',' * len(names)}\n" for p in PLANETS))
    done = predict_by_command(root, weights, tmp_path / "submission.csv")
    assert done.exit_code == 1 and set(json.loads(done.stdout)["fallbacks"]) == set(PLANETS)
    (line,) = (record.message for record in caplog.records if record.levelname == "ERROR")
    assert line.startswith("no planet was predicted: all 3 have the training mean, the first, 7, since: visit 0 is left out")
    assert set(read_submission(tmp_path / "submission.csv")[0]) == set(PLANETS)


def test_a_networks_answer_from_the_first_visit_is_kept_where_the_network_fails_for_all_visits(data, weights, tmp_path, monkeypatch):
    checkpoint = Checkpoint.load(weights)
    dataset = Dataset(data, "test", planets=("12",), scratch=tmp_path)
    first, both = (PlanetBatch(fit_planets(dataset, most_visits=most), 1, 1) for most in (1, None))
    fail_at(monkeypatch, 2)
    answers = Answers()
    for batch in (first, both):
        answers.add_batch(batch, checkpoint)
    kept = answers.found["12"]
    assert kept.note.startswith(FIRST_VISIT_ONLY) and "no kernel image" in kept.note and not answers.closed_form
    monkeypatch.undo()
    fail_at(monkeypatch, 1)
    again = Answers()
    again.add_batch(first, checkpoint)
    assert list(again.closed_form) == ["12"]
    again.add_batch(PlanetBatch(PlanetFits({}, {"12": "why"}), 1, 1), checkpoint)
    assert "initial estimate in place" in again.found["12"].note and list(again.closed_form) == ["12"]
    again.add_batch(both, checkpoint)
    assert not again.closed_form and again.found["12"].note == ""
    assert not np.array_equal(again.found["12"].mean, kept.mean)


@pytest.mark.parametrize("module", [submission, submission_file], ids=["the submission", "a file beside it"])
def test_a_disk_that_is_full_for_a_while_costs_nothing_and_one_that_stays_full_is_told(data, weights, whole, tmp_path, monkeypatch, module):
    write, calls, full = module.write_atomically, [], set()

    def refuse(path, content):
        calls.append(path)
        if len(calls) in full:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(module, "write_atomically", refuse)
    full |= {2}  # after the first planet
    result = run(data, weights, tmp_path / "a" / "submission.csv")
    assert rows(tmp_path / "a" / "submission.csv") == rows(whole) and not result["fallbacks"] and not result["skipped"]
    calls.clear()
    full |= {3}  # after the last too
    result = run(data, weights, tmp_path / "b" / "submission.csv")
    assert len(calls) == 3 and "No space left" in result["skipped"]["writing"]
    told, after = result["fallbacks"], rows(tmp_path / "b" / "submission.csv")
    assert {planet for planet in PLANETS if after[planet] != rows(whole)[planet]} == set(told)
    assert set(told) == (set(PLANETS) if module is submission else set())
    assert all(why.startswith("its answer could not be written: [Errno 28]") for why in told.values())


def test_with_too_little_time_only_the_first_network_is_used(make_checkpoint):
    checkpoint, now = make_checkpoint()[0], [0.0]
    budget = Budget(100.0, clock=lambda: now[0])
    budget.measure(VISIT, 10, 10.0)
    budget.measure(MEMBER, 10, 5.0)
    assert prediction._skip_members(checkpoint, budget, 50) is checkpoint and not budget.skipped
    now[0] = 40.0
    assert list(prediction._skip_members(checkpoint, budget, 50).network.members) == [checkpoint.network.members[0]]
    assert list(budget.skipped) == ["ensemble members"]
