"""Training and prediction on a small simulated set: reproducible, resumable, independent of held-out labels, always a valid file."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ariel_lib.commands import run_training
from ariel_lib.config import ConfigError, load_config
from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra
from ariel_lib.io.storage import StorageError
from ariel_lib.io.submission import read_submission, validate_submission
from ariel_lib.models.device import Device
from ariel_lib.models.ensemble import predict_inputs
from ariel_lib.pipeline import batches
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.pipeline.planet_fits import fit_planets
from ariel_lib.prediction import predict as prediction
from ariel_lib.prediction.predict import predict
from ariel_lib.priors import manifold, mixture
from ariel_lib.priors.auto_decoder import train_decoder
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.training import examples, loop, resolution
from ariel_lib.training.examples import training_set
from ariel_lib.training.network import make_network, take_weights
from ariel_lib.training.resolution import resolve
from ariel_lib.training.split import split_planets
from ariel_lib.transit.population.multiplicative_bias import fit_multiplicative_bias

SMALL = ["model.d_model=16", "model.d_state=4", "model.hidden=8", "model.gnn_layers=1", "model.ssm_depth=1", "calibration.workers=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from ariel_lib.simulator import dataset
    root = tmp_path_factory.mktemp("data")
    dataset.simulate_dataset(root, n_planets=9, n_test=2, seed=5, size="toy", level="lightcurves")
    return root


@pytest.fixture(scope="module")
def planet_fits(data, tmp_path_factory):
    return fit_planets(Dataset(data, "train", scratch=tmp_path_factory.mktemp("scratch")))


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    monkeypatch.setattr(loop, "DRAWS_AN_EPOCH", 8)


def run(data, out, *overrides):
    config = load_config(None, [f"data.root={data}", f"training.out={out}", "training.epochs=2", *SMALL, *overrides])
    return loop.train(training_set(config), config, log=lambda line: None)


def test_one_seed_gives_the_same_bytes_and_a_killed_run_is_resumed(data, tmp_path, monkeypatch):
    run(data, tmp_path / "a")
    wanted = (tmp_path / "a" / "weights.safetensors").read_bytes()
    epochs, epoch = [], loop._epoch

    def killed_in_the_second(*arguments):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)

    monkeypatch.setattr(loop, "_epoch", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "b")
    monkeypatch.setattr(loop, "_epoch", epoch)
    assert_starts_anew(data, tmp_path / "b", tmp_path / "changed")
    monkeypatch.setattr(loop, "_epoch", killed_in_the_second)
    run(data, tmp_path / "b")
    assert len(epochs) == 3  # one done, one killed, one after the resume
    again, first = (Checkpoint.load(tmp_path / name / "weights.safetensors") for name in "ba")
    for name, tensor in first.network.state_dict().items():
        np.testing.assert_array_equal(tensor, again.network.state_dict()[name])
    config = load_config(None, [f"data.root={data}", f"training.out={tmp_path / 'a'}", "training.epochs=2", *SMALL])
    monkeypatch.setattr(loop, "_epoch", epoch)
    loop.train(training_set(config), config, log=lambda line: None)
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() == wanted


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_gpu_that_fails_in_the_second_epoch_is_left_for_the_cpu_with_the_weights_of_a_run_there(data, tmp_path, monkeypatch, where):
    run(data, tmp_path / "cpu")
    monkeypatch.setattr(loop, "choose_device", lambda wanted, log: "cpu:0")  # stands for a GPU: another name than "cpu"
    monkeypatch.setattr(loop, "resolve", lambda config, longest, device: resolve(config, longest, "cpu"))
    fail_after(monkeypatch, where, calls=1)  # an epoch is one batch
    lines, config = [], load_config(None, [f"data.root={data}", f"training.out={tmp_path / 'gpu'}", "training.epochs=2", *SMALL])
    result = loop.train(training_set(config), config, log=lines.append)
    (failed,) = (line for line in lines if "fails" in line)
    assert failed == "cpu:0 fails: RuntimeError: CUDA error: an illegal memory access was encountered; this goes on on the CPU"
    assert "goes on after epoch 1 of an interrupted run" in lines and result["epochs"] == 2
    on_cpu, on_gpu = (Checkpoint.load(tmp_path / name / "weights.safetensors").network.state_dict() for name in ("cpu", "gpu"))
    for name, tensor in on_cpu.items():
        np.testing.assert_array_equal(tensor, on_gpu[name])


def fail_after(monkeypatch, where, calls):
    """Let one batch fail: that after so many, in its forward or its backward pass."""
    part_loss, count = loop._part_loss, []

    def fails(*arguments):
        count.append(1)
        if len(count) != calls + 1:
            return part_loss(*arguments)
        if where == "backward":
            loss = part_loss(*arguments)
            loss.register_hook(lambda gradient: illegal_access())
            return loss
        illegal_access()

    monkeypatch.setattr(loop, "_part_loss", fails)


def illegal_access():
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")


def test_a_run_that_its_time_limit_ended_goes_on_with_the_same_command(data, planet_fits, tmp_path, monkeypatch):
    first, whole, asked = tmp_path / "limited", tmp_path / "whole", []
    monkeypatch.setattr(loop, "fit_within_budget", lambda *args, **settings: planet_fits)
    monkeypatch.setattr(loop.distributed, "decided", lambda late: asked.append(late) or len(asked) == 2)
    assert run(data, first)["epochs"] == 1  # the second of its two epochs was not begun
    assert (first / "weights.safetensors").is_file() and (first / "state_0.safetensors").is_file()
    assert run(data, first)["epochs"] == 2 and not (first / "state_0.safetensors").exists()
    run(data, whole)
    limited, unlimited = (Checkpoint.load(folder / "weights.safetensors").network.state_dict() for folder in (first, whole))
    for name, tensor in unlimited.items():
        np.testing.assert_array_equal(tensor, limited[name])


def assert_starts_anew(data, killed, changed):
    """With the labels times 1.3 a run takes nothing up from an interrupted one."""
    shutil.copytree(killed, changed / "run")
    shutil.copytree(data, changed / "data")
    labels = pd.read_csv(data / "train.csv", dtype={"planet_id": str}).set_index("planet_id")
    (1.3 * labels).to_csv(changed / "data" / "train.csv")
    lines, overrides = [], [f"data.root={changed / 'data'}", f"training.out={changed / 'run'}", "training.epochs=2", *SMALL]
    config = load_config(None, overrides)
    loop.train(training_set(config), config, log=lines.append)
    assert [line.split(":")[0] for line in lines if line.startswith(("starts over: ", "epoch 0:"))] == ["starts over", "epoch 0"]


def with_other_labels(known, planets):
    """The same labels, those of some planets changed."""
    depth = known.labels.depth.copy()
    depth[[n for n, planet in enumerate(known.labels.planet_ids) if planet in planets]] *= 1.5
    return LabelledSpectra(Spectra(known.labels.planet_ids, depth), known.scale)


def test_labels_enter_no_prior_and_no_bias_that_they_must_not(data, planet_fits):
    """Every depth is 8 % too large, so that a bias is found. Held-out labels change no input, choosing labels those of held-out
    planets alone, and a fitting planet's label none of its own fold."""
    known, wavelength, split = LabelledSpectra.read(Dataset(data, "train")), Archive(data).wavelengths(), split_of(planet_fits)
    known = LabelledSpectra(Spectra(known.labels.planet_ids, known.labels.depth / 1.08), known.scale)

    def make(labels):
        return examples.make_examples(planet_fits, labels, wavelength, split, np.random.default_rng(0))

    before, *others = (make(labels) for labels in (known, *(with_other_labels(known, out) for out in (split.held_out, split.choosing))))
    for part in ("fitting", "choosing", "held_out"):
        assert {e.planet_fit.estimate.planet_id for e in getattr(before, part)} == set(getattr(split, part))
        for old, by_held_out, by_choosing in zip(*(getattr(found, part) for found in (before, *others))):
            assert_same_inputs(old, by_held_out)
            if part != "held_out":
                assert_same_inputs(old, by_choosing)
    assert before.bias.mean.mean() == pytest.approx(0.08, abs=0.03)
    seen = [*split.fitting, *split.choosing]
    fitted = fit_multiplicative_bias([planet_fits.fits[planet].estimate for planet in seen], known.labels.of(seen), wavelength)
    np.testing.assert_allclose(before.bias.mean, fitted.mean, rtol=1e-9)
    assert_same_inputs(before.fitting[0], make(with_other_labels(known, [before.fitting[0].planet_fit.estimate.planet_id])).fitting[0])


def assert_same_inputs(one, other):
    np.testing.assert_array_equal(one.conditioned_prior.log_weights, other.conditioned_prior.log_weights)
    np.testing.assert_array_equal(one.planet_fit.estimate.depth, other.planet_fit.estimate.depth)


def split_of(planet_fits):
    return split_planets(list(planet_fits.fits), 1, 0.5, np.random.default_rng(0))[0]


def test_held_out_labels_change_neither_the_network_nor_an_answer_for_a_held_out_planet(data, planet_fits, tmp_path):
    known, wavelength, split = LabelledSpectra.read(Dataset(data, "train")), Archive(data).wavelengths(), split_of(planet_fits)
    found = []
    for n, labels in enumerate((known, with_other_labels(known, split.held_out))):
        config = load_config(None, [f"training.out={tmp_path / str(n)}", "training.epochs=1", "model.initial_estimate=gaussian", *SMALL])
        given = (config, str(n), planet_fits, labels, wavelength, [split])
        _, (member,) = loop._fit_members(*given, Device("cpu"), Budget(None), lambda line: None)
        found.append(member)
    first, second = found
    for name, tensor in first.network.state_dict().items():
        np.testing.assert_array_equal(tensor, second.network.state_dict()[name], err_msg=name)
    assert [epoch["score"] for epoch in first.history] == [epoch["score"] for epoch in second.history]
    for method in first.answers.keys() - {"truth"}:
        np.testing.assert_array_equal(first.answers[method], second.answers[method], err_msg=method)
    assert not np.array_equal(first.answers["truth"], second.answers["truth"])


@pytest.mark.parametrize("folds", [1, 3])
def test_as_held_out_leaves_out_the_labels_of_the_held_out_planets(data, tmp_path, folds):
    result = run(data, tmp_path / "model", "training.epochs=1", f"training.folds={folds}")
    checkpoint, known = Checkpoint.load(result["weights"]), LabelledSpectra.read(Dataset(data, "train"))
    assert len(checkpoint.network.members) == len(checkpoint.held_out) == folds
    assert result["epochs"] == folds  # one of each network; the network before training, epoch 0, is in the history only
    assert result["held_out"] == len(sum(checkpoint.held_out, ())) == len(checkpoint.as_held_out(known))
    assert result["held_out"] + result["choosing"] == (2 if folds == 1 else result["planets"])
    for n, planets in enumerate(checkpoint.held_out):
        for planet in planets:
            one, other = (checkpoint.as_held_out(labels)[planet] for labels in (known, with_other_labels(known, planets)))
            assert one.network.members[0] is checkpoint.network.members[n]
            assert len(one.initial_prior.shapes) == len(known.labels.depth) - len(planets) < len(checkpoint.initial_prior.shapes)
            for part in ("prior", "initial_prior"):
                found, again = getattr(one, part).to_arrays(), getattr(other, part).to_arrays()
                assert all(np.array_equal(found[name], again[name]) for name in found)


def test_an_untrained_network_equals_the_library_posterior(data, planet_fits):
    archive = Archive(data)
    config = load_config(None, SMALL)
    known, split = LabelledSpectra.read(Dataset(data, "train")), split_of(planet_fits)
    found = examples.make_examples(planet_fits, known, archive.wavelengths(), split, np.random.default_rng(0)).fitting
    network = make_network(resolve(config, max(len(example.fgs1) for example in found), "cpu"), archive.wavelengths())
    inputs = found[0].inputs(found[0].planet_fit.estimate.depth)
    mean, sigma = predict_inputs(network, inputs)
    expected = found[0].conditioned_prior.moments(found[0].planet_fit.estimate.depth[None])
    np.testing.assert_allclose(mean[0], expected[0][0], rtol=1e-5)
    np.testing.assert_allclose(sigma[0], expected[1][0], rtol=1e-5)


def test_a_damaged_planet_gets_the_training_mean_and_the_others_are_unchanged(data, tmp_path):
    weights = run(data, tmp_path / "model", "training.epochs=1")["weights"]
    whole = predict(Dataset(data), weights=weights, out=tmp_path / "whole" / "submission.csv")
    assert whole["fallbacks"] == {}
    planets, mean, _ = read_submission(tmp_path / "whole" / "submission.csv")
    victim = data / "lightcurves" / "test" / f"{planets[0]}_0.safetensors"
    content = victim.read_bytes()
    others = [path for path in victim.parent.glob(f"{planets[0]}_*") if path != victim]
    kept = {path: path.read_bytes() for path in others}
    try:
        victim.write_bytes(content[: len(content) // 2])
        for path in others:
            path.unlink()
        damaged = predict(Dataset(data), weights=weights, out=tmp_path / "damaged" / "submission.csv")
    finally:
        victim.write_bytes(content)
        for path, saved in kept.items():
            path.write_bytes(saved)
    assert list(damaged["fallbacks"]) == [planets[0]]
    validate_submission(tmp_path / "damaged" / "submission.csv", data / "sample_submission.csv")
    _, after, sigma = read_submission(tmp_path / "damaged" / "submission.csv")
    np.testing.assert_allclose(after[0], Checkpoint.load(weights).fallback_mean)
    assert sigma[0].min() > 1e-3
    np.testing.assert_allclose(after[1], mean[1], rtol=1e-6)  # batches of another size may differ in the last bits
    assert json.loads((tmp_path / "damaged" / "submission.json").read_text())["fallbacks"]


def test_a_missing_data_folder_and_damaged_weights_raise_errors_that_name_them(data, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root: expected a data folder"):
        training_set(load_config(None, []))
    (tmp_path / "not.safetensors").write_bytes(b"no")
    with pytest.raises(StorageError, match="found none"):
        predict(Dataset(data), weights=tmp_path / "not.safetensors", out=tmp_path / "s.csv")
    write_manifest(tmp_path, ["not.safetensors"], {})
    with pytest.raises(StorageError, match="damaged"):
        predict(Dataset(data), weights=tmp_path / "not.safetensors", out=tmp_path / "s.csv")


def with_doubtful(planet_fits, planet, **change):
    """The same fits, the estimate of one planet changed, a remark on another, and a planet that could not be fitted."""
    found = planet_fits.fits[planet]
    fits = planet_fits.fits | {planet: replace(found, estimate=replace(found.estimate, **change))}
    other = next(other for other in fits if other != planet)
    return replace(planet_fits, fits=fits, failures={"no planet": "no frames"}, notes={other: "a damaged visit"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"depth": np.full(283, np.nan)}, "not finite"), ({"covariance": np.ones((283, 283))}, "not positive definite")],
    ids=["not finite", "not definite"],
)
def test_planets_without_an_acceptable_fit_take_no_part_and_are_named(data, planet_fits, tmp_path, monkeypatch, change, reason):
    doubtful = list(planet_fits.fits)[3]
    monkeypatch.setattr(batches, "fit_planets", lambda *a, **s: with_doubtful(planet_fits, doubtful, **change))
    monkeypatch.setattr(loop, "_epoch", lambda *arguments: 0.0)
    lines, config = [], load_config(None, [f"data.root={data}", f"training.out={tmp_path}", "training.epochs=1", *SMALL])
    result = run_training(config, log=lines.append)
    metrics, manifest = (json.loads((tmp_path / name).read_text()) for name in ("metrics.json", "manifest_train.json"))
    left_out, rest = result["left_out"], [planet for planet in planet_fits.fits if planet != doubtful]
    assert set(left_out) == {doubtful, "no planet"} and reason in left_out[doubtful] and left_out["no planet"] == "no frames"
    assert metrics["left_out"] == left_out and manifest["remarks"] == left_out | {rest[0]: "a damaged visit"}
    assert f"planet {doubtful}: left out of training: {left_out[doubtful]}" in lines and f"planet {rest[0]}: a damaged visit" in lines
    assert result["planets"] == len(rest) and result["validation"]["v50"]["n_planets"] == result["held_out"]
    assert all(np.isfinite(value) for figures in result["validation"].values() for value in figures.values())
    assert set(sum(Checkpoint.load(tmp_path / "weights.safetensors").held_out, ())) < set(rest)


def test_too_few_acceptable_fits_raise_with_the_reason_of_one(data, planet_fits):
    labels, few = Dataset(data, "train").labels(), dict(list(planet_fits.fits.items())[:4])
    doubtful = next(planet for planet in planet_fits.fits if planet not in few)
    found = replace(planet_fits, fits=few, failures={"unlabelled": "why", doubtful: "no transit"})
    with pytest.raises(ConfigError, match=f"found 4; 1 have no fit to train on, such as {doubtful}: no transit"):
        examples.labelled_planets(found, labels)


def library_of(checkpoint):
    return getattr(checkpoint.initial_prior, "library", checkpoint.initial_prior)


def test_with_enough_labels_the_mixture_has_a_row_of_its_own_beside_its_library(data, planet_fits, tmp_path, monkeypatch):
    for module in (mixture, manifold, resolution):
        monkeypatch.setattr(module, "MIN_LABELS", 4)
    monkeypatch.setattr(manifold, "train_decoder", partial(train_decoder, steps=20))
    monkeypatch.setattr(loop, "_epoch", lambda *arguments: 0.0)  # the weights stay at their initialisation
    result = run(data, tmp_path, "calibration.temperature=false")
    validation, checkpoint = result["validation"], Checkpoint.load(result["weights"])
    assert validation["v50"] == validation["mixture_posterior"] != validation["library_posterior"]
    assert checkpoint.initial_estimate == "mixture" and checkpoint.initial_prior.manifold is not None
    alone = run(data, tmp_path / "alone", "calibration.temperature=false", "model.initial_estimate=library")
    assert alone["validation"]["library_posterior"] == pytest.approx(validation["library_posterior"], rel=1e-5)  # one of them in float32
    found = prediction.answer(next(iter(planet_fits.fits.values())), checkpoint)
    assert found.initial_estimate == "mixture_posterior"


def test_batches_made_ahead_are_the_same_and_a_failure_is_not_lost():
    made = []

    def batches():
        for n in range(4):
            made.append(n)
            yield n, n
        raise ValueError("no more")

    found = []
    with pytest.raises(ValueError, match="no more"):
        for batch in loop._ahead(batches()):
            found.append(batch)
    assert found == [(n, n) for n in range(4)] and made == [0, 1, 2, 3]
    assert list(loop._ahead(iter([]))) == []


@pytest.mark.parametrize("initial_estimate", ["library", "mixture", "fit", "white"])
def test_an_untrained_network_returns_its_initial_estimate(data, planet_fits, tmp_path, monkeypatch, initial_estimate):
    monkeypatch.setattr(loop, "_epoch", lambda *arguments: 0.0)  # the weights stay at their initialisation
    settings = [f"model.initial_estimate={initial_estimate}", "model.scale_height=false", "calibration.temperature=false"]
    result = run(data, tmp_path, *settings)
    used = "library" if initial_estimate == "mixture" else initial_estimate  # of so few labels
    assert result["validation"]["v50"] == result["validation"][loop.INITIAL_NAMES[used]]
    checkpoint, planet_fit = Checkpoint.load(result["weights"]), next(iter(planet_fits.fits.values()))
    found, estimate = prediction.answer(planet_fit, checkpoint), planet_fit.estimate
    assert np.isnan(library_of(checkpoint).log_scale).all()
    known = LabelledSpectra.read(Dataset(data, "train"))
    assert np.isfinite(known.scale).all()
    for held_out in checkpoint.as_held_out(known).values():
        assert np.isnan(library_of(held_out).log_scale).all()
    assert checkpoint.initial_estimate == used
    if used == "library":
        expected = checkpoint.initial_prior.conditioned_on(estimate.covariance).moments(estimate.depth[None])
        np.testing.assert_allclose(found.mean, expected[0][0], rtol=1e-5)
        np.testing.assert_allclose(found.sigma, expected[1][0], rtol=1e-5)
    if initial_estimate == "fit":
        np.testing.assert_allclose(found.mean, np.maximum(estimate.depth, 0), rtol=1e-5)
        np.testing.assert_allclose(found.sigma, estimate.sigma, rtol=1e-5)
    if initial_estimate == "white":
        assert np.ptp(found.mean) < 1e-8 and np.ptp(found.sigma) < 1e-8
        assert abs(found.mean[0] - np.average(estimate.depth, weights=estimate.sigma_uncorrelated**-2)) < 1e-8


def test_training_can_start_from_the_weights_of_another_run(data, tmp_path, monkeypatch):
    first = run(data, tmp_path / "first", "training.epochs=1")["weights"]
    network = make_network(resolve(load_config(None, SMALL), 5000, "cpu"), Archive(data).wavelengths())
    take_weights(network, Path(first), 0)
    for name, tensor in Checkpoint.load(first).network.members[0].state_dict().items():
        np.testing.assert_array_equal(tensor, network.state_dict()[name])
    monkeypatch.setattr(loop, "fit_within_budget", None)  # what follows is refused before the fits
    with pytest.raises(StorageError, match="no such file"):
        run(data, tmp_path / "second", f"training.initial_weights={tmp_path / 'wieghts.safetensors'}")
    with pytest.raises(ConfigError, match=r"training\.folds: expected at most 3 for 7 planets, found 4"):
        run(data, tmp_path / "second", "training.folds=4")
    with pytest.raises(ConfigError, match="sizes in model"):
        run(data, tmp_path / "second", f"training.initial_weights={first}", "model.hidden=16")
