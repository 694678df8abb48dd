"""evaluation.comparison and models.baselines: baselines fit what their features determine; all are scored on the same planets."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ariel_lib.config import ConfigError, load_config
from ariel_lib.errors import SpectraMindError
from ariel_lib.evaluation import comparison
from ariel_lib.evaluation.comparison import as_csv, as_markdown, tabulate
from ariel_lib.evaluation.oracle import ORACLES
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import load_light_curves, save_light_curves
from ariel_lib.io.storage import load_arrays
from ariel_lib.io.tables import read_spectra
from ariel_lib.metrics import bootstrap_error, naive_answer, negative_log_likelihood, score
from ariel_lib.models.baselines import NetworkBaseline, RidgeBaseline, answer_of
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.prediction import predict as prediction
from ariel_lib.simulator.dataset import simulate_dataset
from ariel_lib.training import loop
from ariel_lib.training.examples import training_set
from ariel_lib.uncertainty.temperature import PRIOR_STRENGTH, Temperature, fit_temperature


def planets(n, rng, wavelengths=12):
    """Three features, white depths, and spectra that are linear in both, with 1 ppm of noise."""
    hidden = rng.standard_normal((n, 3))
    white = 0.01 + 1e-3 * rng.standard_normal(n)
    mixing = np.random.default_rng(5).standard_normal((3, wavelengths))
    truth = white[:, None] + 1e-4 * hidden @ mixing + 1e-6 * rng.standard_normal((n, wavelengths))
    return hidden, white, truth


NETWORK = NetworkBaseline(2, 32, epochs=60, learning_rates=(5e-3,), noise=0.0)


@pytest.mark.parametrize("baseline", [RidgeBaseline(), NETWORK], ids=["ridge", "mlp"])
def test_a_baseline_fits_a_linear_map_and_its_sigma_matches_its_residuals(baseline):
    if isinstance(baseline, RidgeBaseline):
        pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    features, white, truth = planets(200, rng)
    others, white_others, truth_others = planets(200, rng)
    found = answer_of(baseline, features, white, truth, others, white_others)
    mean, sigma = found.mean, found.sigma
    residual = np.sqrt(np.mean((truth_others - mean) ** 2))
    assert residual < 0.35 * np.std(truth_others - white_others[:, None])
    assert 0.5 < residual / np.sqrt(np.mean(sigma**2)) < 1.4
    assert (sigma == sigma[0]).all()


def test_a_network_baseline_is_reproducible():
    features, white, truth = planets(40, np.random.default_rng(1))
    one, two = (answer_of(NetworkBaseline(2, 8, epochs=3), features, white, truth, features, white) for _ in range(2))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.sigma, two.sigma)
    assert one.parameters == 3 * 8 + 8 + 2 * (2 * 8 + 2 * (8 * 8 + 8)) + 8 * 12 + 12


def test_the_table_has_the_challenge_score_and_paired_leads():
    rng = np.random.default_rng(2)
    truth = 0.01 + 1e-3 * rng.standard_normal((50, 12))
    noise = rng.standard_normal(truth.shape)
    naive = naive_answer(truth)

    def answer(size):
        return truth + size * noise, np.full_like(truth, size)

    table = tabulate(truth, {"worse": answer(2e-4), "v50": answer(1e-4)}, naive)
    for name, size in (("worse", 2e-4), ("v50", 1e-4)):
        assert table[name]["score"] == pytest.approx(score(truth, *answer(size), **naive))
    assert table["worse"]["v50_lead"] == pytest.approx(table["v50"]["score"] - table["worse"]["score"])
    # the same noise in both: their difference has a far smaller error than each score
    assert 0 < table["worse"]["v50_lead_error"] < 0.2 * table["worse"]["score_error"]
    assert table["v50"]["v50_lead"] == 0
    assert as_csv(table).splitlines()[1].startswith("worse,")
    assert as_markdown(table).splitlines()[-1].startswith("| v50 |")


def test_a_baselines_temperature_comes_from_cross_validated_answers_of_the_held_out_planets():
    rng = np.random.default_rng(6)
    truth = 0.01 + 1e-3 * rng.standard_normal((60, 12))
    residual, held_out = 1e-4 * rng.standard_normal(truth.shape), np.arange(60) < 30
    residual[held_out] *= 3  # its sigmas, from the other planets, are three times too small for them
    naive = naive_answer(truth)
    found = comparison.temperature_of(residual, truth, held_out, naive)
    mean, sigma = (truth - residual)[held_out], np.tile(np.sqrt(np.mean(residual[~held_out] ** 2, axis=0)), (30, 1))
    assert found == fit_temperature(mean, sigma, truth[held_out], **naive, prior_strength=PRIOR_STRENGTH)
    assert 1.8 < found.overall < 2.5  # drawn towards one: 30 planets against a prior of 30
    assert comparison.temperature_of(residual, truth, np.zeros(60, bool), naive) == Temperature()


def test_every_answer_but_v50_and_the_oracles_is_given_its_temperature():
    mean, sigma = np.full((2, 3), 0.01), np.full((2, 3), 1e-4)
    warm = Temperature((2.0, 3.0))
    temperatures = {name: warm for name in ("v50", "ridge", "gaussian_posterior")}
    found = comparison._calibrated({name: (mean, sigma) for name in ("v50", "ridge", "gaussian_posterior", "oracle")}, temperatures)
    for name, expected in (("v50", sigma), ("oracle", sigma), ("ridge", warm.apply(sigma)), ("gaussian_posterior", warm.apply(sigma))):
        np.testing.assert_array_equal(found[name][1], expected)


def test_bootstrap_error_equals_the_standard_error_of_a_mean():
    values = np.random.default_rng(3).standard_normal(400)
    assert bootstrap_error(values) == pytest.approx(values.std() / 20, rel=0.1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small simulated data set of light curves, and the fits of its planets."""
    pytest.importorskip("sklearn")
    root = tmp_path_factory.mktemp("compared")
    simulate_dataset(root / "data", n_planets=7, n_test=2, seed=5, size="toy", level="lightcurves")
    for split in ("train", "test"):
        fit_planets(Dataset(root / "data", split, scratch=root / "out"))
    return root


@pytest.fixture
def simulated(made, tmp_path, monkeypatch):
    """A copy of the data set, and `compare` on it with a training that must not begin."""
    shutil.copytree(made, tmp_path / "copy")
    settings = load_config(None, [f"data.root={tmp_path / 'copy' / 'data'}", f"training.out={tmp_path / 'copy' / 'out'}"])
    monkeypatch.setattr(comparison, "train", lambda *arguments, **settings: pytest.fail("trained before the input was judged"))
    data = training_set(settings)
    return data, lambda: comparison.compare(data, settings, data.root / "test.csv", log=lambda line: None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [(slice(2), r"test.csv: expected the 2 planets of .*, found none of 1, such as"), (slice(1, None), "wl_1")],
    ids=["a planet less", "no header"],
)
def test_a_truth_that_does_not_match_raises_before_the_fits(simulated, monkeypatch, lines, message):
    data, compare = simulated
    monkeypatch.setattr(comparison, "fit_planets", lambda *arguments, **settings: pytest.fail("fitted before the input was judged"))
    path = data.root / "test.csv"
    path.write_text("\n".join(path.read_text().splitlines()[lines]) + "\n")
    with pytest.raises(SpectraMindError, match=message):
        compare()


def test_settings_that_cannot_be_trained_with_raise_before_the_fits(simulated, monkeypatch):
    data, _ = simulated
    monkeypatch.setattr(comparison, "fit_planets", lambda *arguments, **settings: pytest.fail("fitted before the input was judged"))
    with pytest.raises(ConfigError, match=r"training\.folds: expected at most 2 for 5 planets, found 3"):
        comparison.compare(data, load_config(None, ["training.folds=3"]), data.root / "test.csv")


def test_without_a_single_test_planet_to_judge_by_nothing_is_trained(simulated):
    data, compare = simulated
    test = data.with_split("test")
    for planet in test.planets:
        test.light_curve_path(planet, 0).write_bytes(b"")
    with pytest.raises(SpectraMindError, match=f"every method can answer, found none of 2, such as {test.planets[0]}: visit 0 is left out"):
        compare()


def test_the_oracles_are_answered_before_the_training_and_left_out_with_a_note_without_the_simulators_truth(simulated):
    data, _ = simulated
    test, labels, logged = data.with_split("test"), data.labels().depth, []
    assert set(comparison._oracles(test, labels, logged.append)[0]) == set(ORACLES) and not logged
    stars = data.root / "test_star_info.csv"
    rows = stars.read_text().splitlines()
    stars.write_text("\n".join(row for row in rows if not row.startswith(test.planets[1])) + "\n")
    without = Dataset(data.root, "test")
    answers, note = comparison._oracles(without, labels, logged.append)
    assert not answers and logged == [note["note"]] and f"such as {test.planets[1]}: the star table has no orbit" in note["note"]
    assert set(comparison._oracles(without.select(test.planets[:1]), labels, logged.append)[0]) == set(ORACLES)  # of the others
    path = data.root / "truth.json"
    path.write_text(path.read_text().replace(f'"{test.planets[0]}": {{', '"1": {'))
    answers, note = comparison._oracles(test, labels, logged.append)
    assert not answers and logged[1:] == [note["note"]] and f"such as {test.planets[0]}" in note["note"]
    path.unlink()
    assert comparison._oracles(test, labels, logged.append) == ({}, {}) and len(logged) == 2


def spoil(dataset, monkeypatch):
    """A training and a test planet without a transit, a test planet with a damaged file, one whose prediction fails; their names."""
    test, answer = dataset.with_split("test"), prediction.answer
    for part in (dataset, test):
        for visit in part.light_curve_visits[part.planets[0]]:
            path = part.light_curve_path(part.planets[0], visit)
            curves = load_light_curves(path)
            flat = [replace(curve, flux=np.ones_like(curve.flux) * curve.flux.mean(axis=0)) for curve in (curves.fgs1, curves.airs)]
            save_light_curves(path, replace(curves, fgs1=flat[0], airs=flat[1]))
    for visit in test.light_curve_visits[test.planets[1]]:
        test.light_curve_path(test.planets[1], visit).write_bytes(b"")

    def fail(planet_fit, checkpoint):
        if planet_fit.estimate.planet_id == test.planets[3]:
            raise ValueError("no prediction")
        return answer(planet_fit, checkpoint)

    monkeypatch.setattr(prediction, "answer", fail)
    return dataset.planets[0], [test.planets[n] for n in (0, 1, 3)], [test.planets[n] for n in (2, 4, 5)]


def test_compare_writes_the_table_of_a_small_simulated_set(tmp_path, monkeypatch):
    """All rows are of the test planets that every method can answer; the others and doubtful training planets are named."""
    pytest.importorskip("sklearn")
    simulate_dataset(tmp_path / "data", n_planets=16, n_test=6, seed=5, size="toy", level="lightcurves")
    monkeypatch.setattr(comparison, "BASELINES", {"ridge": RidgeBaseline()})
    monkeypatch.setattr(loop, "DRAWS_AN_EPOCH", 8)
    small = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "training.epochs=1"]
    settings = load_config(None, [f"data.root={tmp_path / 'data'}", f"training.out={tmp_path / 'out'}", "calibration.workers=1", *small])
    doubtful, without, planets = spoil(training_set(settings), monkeypatch)
    lines = []
    result = comparison.compare(training_set(settings), settings, tmp_path / "data" / "test.csv", log=lines.append)
    assert result["planets"] == {"training": 9, "test": 3} and sorted(result["left_out"]) == sorted(without)
    reasons = dict(zip(("no transit was found", "damaged", "ValueError: no prediction"), without))
    assert all(reason in result["left_out"][planet] for reason, planet in reasons.items()), result["left_out"]
    assert all(f"test planet {planet} left out of every row: {result['left_out'][planet]}" in lines for planet in without)
    table, _, notes = (tmp_path / "out" / "comparison.md").read_text().partition("\n\n")
    assert notes.strip().split("\n\n") == [f"Left out of every row: {p}: {why}" for p, why in result["left_out"].items()]
    assert {figures["n_planets"] for figures in result["table"].values()} == {3}
    rows = table.splitlines()[2:]
    names = [row.split(" | ")[0].strip("| ") for row in rows]
    assert names[-1 - len(ORACLES) :] == ["v50", *sorted(ORACLES, key=lambda name: result["table"][name]["score"])]
    assert result["table"]["v50"]["parameters"] > 1000 and result["table"]["v50"]["train_s"] > 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["held_out"] == metrics["choosing"] == 1 and list(metrics["left_out"]) == [doubtful]
    for name, figures in result["table"].items():  # all but the oracles took the temperature step
        assert (name in ORACLES) == ("temperature" not in figures)
        if name in metrics["temperatures"]:
            assert figures["temperature"] == metrics["temperatures"][name]["overall"]
    extras, text = load_arrays(tmp_path / "out" / "submission.safetensors")
    stored = json.loads(text["planet_ids"])  # the planet whose network failed has its closed forms there
    assert set(stored) == {*planets, without[2]}
    extras = {name: array[[stored.index(planet) for planet in planets]] for name, array in extras.items()}
    truth = read_spectra(tmp_path / "data" / "test.csv").of(planets)
    mean, sigma = np.maximum(extras["gaussian_mean"], 0.0), extras["gaussian_sigma"]
    warm = Temperature.from_dict(metrics["temperatures"]["gaussian_posterior"]).apply(sigma)
    stated, raw = (negative_log_likelihood(truth, mean, each) for each in (warm, sigma))
    assert result["table"]["gaussian_posterior"]["nll"] == pytest.approx(stated, abs=1e-9) != pytest.approx(raw, abs=1e-6)
    for name in ("comparison.csv", "comparison.json", "comparison.png"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_every_seed_is_compared_in_its_own_folder_with_shared_data(tmp_path, monkeypatch):
    made = []

    def compare(dataset, config, truth, *, log, workers):
        made.append((dataset, config.training.seed, truth, workers))
        folder = tmp_path / f"seed_{config.training.seed}"
        assert config.training.out == str(folder)
        folder.mkdir()
        scores = {"ridge": {"1": 0.1, "2": 0.2}, "v50": {"1": 0.2 + 0.1 * config.training.seed, "2": 0.4 + 0.1 * config.training.seed}}
        (folder / comparison.SCORES).write_text(json.dumps(scores))
        return {"left_out": {"9": "no transit"}}

    monkeypatch.setattr(comparison, "compare", compare)
    config = load_config(None, [f"training.out={tmp_path}"])
    result = comparison.compare_seeds("data", config, "truth.csv", (0, 1, 2), log=str, workers=2)
    assert made == [("data", seed, "truth.csv", 2) for seed in (0, 1, 2)]
    assert result["seeds"] == [0, 1, 2] and result["planets"] == 2 and result["left_out"] == {"9": "no transit"}
    assert result["table"]["v50"]["score"] == pytest.approx(0.4) and result["table"]["v50"]["score_spread"] == pytest.approx(0.1)
    assert json.loads((tmp_path / "seeds.json").read_text()) == result
    assert (tmp_path / "seeds.md").read_text().splitlines()[2].startswith("| ridge | 0.1500 ± ")
