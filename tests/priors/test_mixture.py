"""Library and manifold together: the pool of two Gaussians, the library alone where labels are few, and exact arrays."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from ariel_lib.io.storage import load_arrays, save_arrays
from ariel_lib.pipeline.checkpoint import Checkpoint
from ariel_lib.priors import mixture
from ariel_lib.priors.manifold import MIN_LABELS, Manifold
from ariel_lib.priors.mixture import LibraryAndManifold, PooledPosterior
from ariel_lib.priors.spectral_library import fit_spectral_library

RNG = np.random.default_rng
WAVELENGTH = np.array([0.7, 2.0, 2.2, 2.5, 2.9, 3.3, 3.8])


def labels_of(n):
    rng = RNG(n)
    return 0.01 + 1e-4 * rng.standard_normal((n, 1)) + 1e-4 * np.sin(WAVELENGTH + rng.uniform(0, 3, (n, 1)))


def fixed(mean, sigma, amplitude):
    arrays = np.full((1, 3), mean), np.full((1, 3), sigma), np.array([[0.25, 0.75]])
    return SimpleNamespace(moments=lambda depth: arrays, amplitudes=np.array([amplitude, 2 * amplitude]))


def test_precisions_and_amplitudes_are_averaged_by_weight():
    posterior = PooledPosterior((fixed(1.0, 1.0, 3.0), fixed(4.0, 0.5, 5.0)), (0.25, 0.75))
    mean, sigma, weights = posterior.moments(np.zeros((1, 3)))
    np.testing.assert_allclose(sigma, 3.25**-0.5)  # precisions 1 and 4
    np.testing.assert_allclose(mean, (0.25 * 1.0 + 0.75 * 4 * 4.0) / 3.25)
    assert weights[0] @ posterior.amplitudes == pytest.approx(1.75 * (0.25 * 3 + 0.75 * 5)) and weights.sum() == pytest.approx(1)
    agreeing = PooledPosterior((fixed(1.0, 2.0, 3.0),) * 2, (0.2, 0.8)).moments(np.zeros((1, 3)))
    np.testing.assert_allclose((agreeing[0], agreeing[1]), (np.full((1, 3), 1.0), np.full((1, 3), 2.0)))


def test_few_labels_have_the_library_alone_and_a_warning_says_so(caplog):
    labels, noise = labels_of(MIN_LABELS - 1), 1e-8 * np.eye(7)
    prior = LibraryAndManifold.fit(labels, WAVELENGTH)
    assert f"{MIN_LABELS - 1} labels, of which a spectral manifold needs {MIN_LABELS}" in caplog.text
    library = fit_spectral_library(labels, WAVELENGTH).conditioned_on(noise)
    for one, other in zip(prior.conditioned_on(noise).moments(labels[:3]), library.moments(labels[:3])):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_enough_labels_have_both(monkeypatch, caplog):
    monkeypatch.setattr(mixture, "fit_manifold", lambda depth, scale: ("manifold of", len(depth), scale))
    prior = LibraryAndManifold.fit(labels_of(MIN_LABELS), WAVELENGTH, np.full(MIN_LABELS, 1e-4))
    assert prior.manifold[:2] == ("manifold of", MIN_LABELS) and not caplog.text


@pytest.mark.parametrize(("labels", "weight"), [(MIN_LABELS, 0.0), (2 * MIN_LABELS, 0.4), (100 * MIN_LABELS, 0.792)])
def test_the_manifold_counts_more_the_more_labels_there_are(labels, weight):
    manifold = SimpleNamespace(latents=np.zeros((3, labels, 8)), conditioned_on=lambda noise, scale: "of the manifold")
    library = SimpleNamespace(conditioned_on=lambda noise, scale: "of the library")
    posterior = LibraryAndManifold(library, manifold).conditioned_on(np.eye(7))
    assert posterior.posteriors == ("of the library", "of the manifold") and posterior.library == "of the library"
    assert posterior.weights == pytest.approx((1 - weight, weight))
    assert LibraryAndManifold(library, None).conditioned_on(np.eye(7)).weights == (1.0,)


def some_manifold():
    return Manifold(**{field.name: RNG(n).standard_normal((2, 3, 4)) for n, field in enumerate(fields(Manifold))})


@pytest.mark.parametrize("manifold", [None, some_manifold()], ids=["library", "both"])
def test_a_checkpoint_restores_it_to_the_last_bit(make_checkpoint, tmp_path, manifold):
    checkpoint, labelled = make_checkpoint(settings={"initial_estimate": "mixture"})
    prior = LibraryAndManifold(fit_spectral_library(labelled.labels.depth, checkpoint.wavelength), manifold)
    path = replace(checkpoint, initial_prior=prior).save(tmp_path / "weights.safetensors")
    found = Checkpoint.load(path).initial_prior
    assert isinstance(found, LibraryAndManifold) and (found.manifold is None) == (manifold is None)
    before, after = prior.to_arrays(), found.to_arrays()
    assert list(before) == list(after)
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)
    again = save_arrays(tmp_path / "again.safetensors", after, {})
    assert set(load_arrays(again)[0]) == set(before)
