"""ariel_lib.prediction.model: a spectrum from a transit fit is the submission's row, to the last bit; what does not fit is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from ariel_lib.errors import SpectraMindError
from ariel_lib.io.checksums import write_manifest
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import save_light_curves
from ariel_lib.io.storage import StorageError, load_arrays
from ariel_lib.io.submission import read_submission
from ariel_lib.io.writer import write_stars, write_wavelengths
from ariel_lib.prediction.light_curves import calibrate
from ariel_lib.prediction.model import Model
from ariel_lib.prediction.predict import RejectedFitError, predict
from ariel_lib.prediction.transit_fit import fit_transit
from ariel_lib.transit.population import nuisance_prior
from ariel_lib.transit.result import Flag

PLANETS = ("7", "12")


@pytest.fixture(scope="module")
def data(scene, tmp_path_factory):
    """Light curves of two planets, the second with two visits and an orbit that the star table has wrong."""
    root, rng = tmp_path_factory.mktemp("model") / "data", np.random.default_rng(2)
    root.mkdir()
    stars = [replace(scene.star, planet_id="7"), replace(scene.star, planet_id="12", sma=9.6)]
    for planet, visit, t0 in (("7", 0, 3.7), ("12", 0, 3.5), ("12", 1, 3.9)):
        curves = replace(scene.observe(rng, t0=t0, visit=visit), planet_id=planet)
        path = light_curves_path(root / "lightcurves", "test", planet, visit)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_light_curves(path, curves)
    write_stars(root, "test", stars)
    write_wavelengths(root, scene.wavelength)
    return root


@pytest.fixture(scope="module", params=[False, True], ids=["network", "corel"])
def weights(request, make_checkpoint, tmp_path_factory):
    checkpoint, _ = make_checkpoint(corel=request.param)
    config = checkpoint.config | {"training": {"threads": 1}, "calibration": {"airs_samples": 1125}}
    path = replace(checkpoint, config=config).save(tmp_path_factory.mktemp("weights") / "weights.safetensors")
    write_manifest(path.parent, [path.name])
    return path


@pytest.fixture(scope="module")
def fits(data):
    dataset = Dataset(data, "test")
    return {planet: fit_transit(calibrate(dataset, planet), star=dataset.star(planet)) for planet in PLANETS}


def test_a_spectrum_is_the_row_of_the_submission_to_the_last_bit(data, weights, fits, tmp_path):
    predict(Dataset(data, "test", planets=PLANETS), weights=weights, out=tmp_path / "submission.csv")
    planets, mean, sigma = read_submission(tmp_path / "submission.csv")
    others, text = load_arrays(tmp_path / "submission.safetensors")
    model = Model.load(weights)
    assert planets == PLANETS and json.loads(text["planet_ids"]) == list(PLANETS) and text["initial_estimate"] == "library_posterior"
    for row, planet in enumerate(planets):
        found = model.predict(fits[planet])
        np.testing.assert_array_equal(found.depth, mean[row])
        np.testing.assert_array_equal(found.sigma, sigma[row])
        for name, depth, spread in (
            ("initial", "initial_mean", "initial_sigma"), ("gaussian", "gaussian_mean", "gaussian_sigma"), ("fit", "depth", "depth_sigma"),
        ):  # fmt: skip
            np.testing.assert_array_equal(found.answers[name].depth, others[depth][row])
            np.testing.assert_array_equal(found.answers[name].sigma, others[spread][row])
        assert found.answers["initial"].note == "library_posterior"


def test_a_model_updated_by_the_visits_of_a_submission_gives_its_rows(data, weights, fits, tmp_path, monkeypatch):
    monkeypatch.setattr(nuisance_prior, "MIN_FITS", 3)
    predict(Dataset(data, "test", planets=PLANETS), weights=weights, out=tmp_path / "submission.csv")
    _, mean, sigma = read_submission(tmp_path / "submission.csv")
    model = Model.load(weights)
    spectra = [model.updated_by(fits.values()).predict(fits[planet]) for planet in PLANETS]
    np.testing.assert_array_equal([spectrum.depth for spectrum in spectra], mean)
    np.testing.assert_array_equal([spectrum.sigma for spectrum in spectra], sigma)
    assert not np.array_equal(model.predict(fits["7"]).depth, mean[0])


def test_answers_with_a_covariance_have_that_of_their_sigmas(weights, fits):
    found = Model.load(weights).predict(fits["7"])
    assert found.covariance is None and found.answers["initial"].covariance is None
    for name in ("gaussian", "fit"):
        np.testing.assert_allclose(np.sqrt(np.diag(found.answers[name].covariance)), found.answers[name].sigma, rtol=1e-12)
    assert found.planet_id == "7" and found.note == ""


def test_the_fit_is_left_as_it_was_and_so_are_torchs_threads(weights, fits):
    import torch

    before, depth = torch.get_num_threads(), fits["7"].depth.copy()
    torch.set_num_threads(2)
    try:
        Model.load(weights).predict(fits["7"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(fits["7"].depth, depth)


def test_weights_that_no_manifest_lists_are_refused(weights, tmp_path):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    with pytest.raises(StorageError, match=r"expected manifest.json beside it, found none. `train` and `make weights` write both: copy"):
        Model.load(copy)
    write_manifest(tmp_path, [copy.name], {})
    assert len(Model.load(copy).wavelengths) == 13
    copy.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(StorageError, match="expected SHA-256"):
        Model.load(copy)
    with pytest.raises(StorageError, match="no such file"):
        Model.load(tmp_path / "nowhere.safetensors")


def test_a_fit_on_another_axis_is_refused(weights, fits):
    with pytest.raises(SpectraMindError, match=r"expected a fit at the 13 wavelengths of .*found 12"):
        Model.load(weights).predict(replace(fits["7"], wavelength_um=fits["7"].wavelength_um[:12]))


def test_no_spectrum_is_read_off_a_fit_without_a_transit(weights, fits):
    lost = replace(fits["7"], estimate=replace(fits["7"].estimate, flags=(Flag.NO_TRANSIT,)))
    with pytest.raises(RejectedFitError, match="planet 7: no spectrum is read off this fit: no transit was found"):
        Model.load(weights).predict(lost)


def test_the_representation_names_file_and_size(weights):
    assert f"{weights.name}', 13 wavelengths, 2 networks, " in repr(Model.load(weights)) and len(repr(Model.load(weights))) < 250


def test_a_network_that_fails_is_an_error(weights, fits, monkeypatch):
    model = Model.load(weights)
    nn.init.constant_(model.checkpoint.network.members[0].decoder.delta.weight, float("nan"))
    with pytest.raises(SpectraMindError, match="planet 7: the network's spectrum is invalid"):
        model.predict(fits["7"])

    def fail(network, inputs):
        raise RuntimeError("boom")

    monkeypatch.setattr("ariel_lib.prediction.answer.predict_inputs", fail)
    with pytest.raises(RuntimeError, match="boom"):
        model.predict(fits["7"])
