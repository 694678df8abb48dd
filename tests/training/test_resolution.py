"""training.resolution: the hash holds what the machine chose, the fingerprint the content of all that a run learns from."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ariel_lib.config import Config, config_hash, load_config
from ariel_lib.io.layout import Spectra
from ariel_lib.models import precision
from ariel_lib.pipeline.planet_fits import PlanetFit, PlanetFits
from ariel_lib.priors.scale_height import LabelledSpectra
from ariel_lib.training.resolution import (
    ENCODER_SAMPLES,
    digest_inputs,
    resolve,
    resolve_initial_estimate,
    run_fingerprint,
)
from ariel_lib.training.split import split_planets


def test_the_hash_of_a_resolved_configuration_tells_a_gpu_from_a_cpu():
    on_cpu, on_gpu = (resolve(Config(), 10 * ENCODER_SAMPLES, device) for device in ("cpu", "cuda"))
    assert (on_cpu.model.bin_width, on_gpu.model.bin_width) == (10, 1)
    assert len({config_hash(config) for config in (Config(), on_cpu, on_gpu)}) == 3
    given = load_config(overrides=["model.bin_width=7"])
    assert resolve(given, 10 * ENCODER_SAMPLES, "cuda") == given


@pytest.mark.parametrize(("planets", "wanted"), [(46, "library"), (47, "mixture")])
def test_a_mixture_of_which_any_prior_has_too_few_labels_is_the_library_and_one_line_says_so(planets, wanted):
    """Of 46 planets 9 are apart, and 29 labels are left without the fold of 8; of 47 it is 30."""
    splits = split_planets([f"p{n}" for n in range(planets)], 1, 0.2, np.random.default_rng(0))
    said = []
    config = load_config(overrides=["model.initial_estimate=mixture"])
    found = resolve_initial_estimate(config, planets, splits, said.append)
    assert found.model.initial_estimate == wanted
    assert [("30 labels, and of 46 some priors of this run see 29" in line) for line in said] == [True] * (wanted == "library")
    for other in ("gaussian", "library", "fit", "white"):
        given = load_config(overrides=[f"model.initial_estimate={other}"])
        assert resolve_initial_estimate(given, 6, splits, said.append) == given
    assert len(said) == (wanted == "library")


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_precision_is_that_of_the_device(monkeypatch, capability, wanted):
    asked = load_config(overrides=["training.precision=bfloat16"])
    assert resolve(asked, 1, "cpu").training.precision == "float32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve(asked, 1, "cuda").training.precision == wanted
    assert precision.effective_precision("float32", torch.device("cuda")) == "float32"


def test_the_digest_changes_with_labels_fits_scale_heights_and_initial_weights(tmp_path):
    fits = PlanetFits({name: PlanetFit(SimpleNamespace(planet_id=name), None, (), f"source of {name}") for name in "ab"}, {})
    known = LabelledSpectra(Spectra(("a", "b"), np.full((2, 3), 0.01)), np.array([1e-4, 2e-4]))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    other_fit = PlanetFits(fits.fits | {"b": replace(fits.fits["b"], source="other light curves")}, {})
    found = [
        digest_inputs(fits, known),
        digest_inputs(other_fit, known),
        digest_inputs(PlanetFits({"a": fits.fits["a"]}, {}), known),
        digest_inputs(fits, LabelledSpectra(replace(known.labels, depth=1.3 * known.labels.depth), known.scale)),
        digest_inputs(fits, LabelledSpectra(known.labels, 2 * known.scale)),
        digest_inputs(fits, known, str(weights)),
    ]
    weights.write_bytes(b"two")
    assert len({*found, digest_inputs(fits, known, str(weights))}) == 7
    assert digest_inputs(fits, known) == found[0]


def test_a_run_goes_on_only_with_the_same_configuration_content_and_planets():
    same = run_fingerprint(Config(), "content", ["a", "b"])
    assert same == run_fingerprint(Config(), "content", ["b", "a"])
    assert same == run_fingerprint(load_config(overrides=["training.max_hours=2"]), "content", ["a", "b"])
    others = [
        run_fingerprint(load_config(overrides=["model.hidden=9"]), "content", ["a", "b"]),
        run_fingerprint(Config(), "other", ["a", "b"]),
        run_fingerprint(Config(), "content", ["a"]),
    ]
    assert len({same, *others}) == 4
