"""Frames and light curves small enough for a test, simulated here, and an untrained checkpoint: for tests of several packages."""

import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ariel_lib.calibration.linearity import evaluate
from ariel_lib.calibration.plan import Detector
from ariel_lib.instrument import AIRS, FGS1, INSTRUMENTS, Instrument, airs_wavelengths
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import CalibrationMaps, Converter, Star
from ariel_lib.io.light_curves import LightCurve, LightCurves
from ariel_lib.io.tables import read_table
from ariel_lib.io.writer import write_axis, write_calibration_maps, write_converters, write_signal
from ariel_lib.transit.estimate import estimate_depths
from ariel_lib.transit.occultation import transit_flux
from ariel_lib.transit.orbit import separation

SHARED = Path(__file__).parents[1] / "../shared/data/adc2025"
WAVELENGTH = np.concatenate([[0.7], np.linspace(1.95, 3.9, 12)])
STAR = Star("1", Rs=1.0, Ms=1.0, Ts=5500.0, Mp=1.0, e=0.0, P=3.5, sma=9.0, i=88.0)
DEPTH = 0.012 + 2e-4 * np.sin(3 * WAVELENGTH)
# Claret & Bloemen 2011 at 5500 K (as in transit/limb_darkening.py, which these do not come from): u1, u2 of FGS1, mean of R and I; u1 at
# 2.9 micron and its slope per micron, and those of u2, of the line through K (2.19) and IRAC 3.6 (3.55); and half the models' disagreement
LIMB_DARKENING = np.array([0.3734, 0.2528, 0.0688, 0.0083, 0.2306, -0.0841])
LIMB_SCATTER = np.array([0.04, 0.04, 0.03, 0.015, 0.03, 0.015])
LEVEL = np.concatenate([[2e6], np.linspace(3e5, 3e4, 12)])  # electrons a sample


_opened: list[Counter] = []  # of the test that counts


def _note_opening(event, arguments):
    if _opened and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened[-1][os.path.realpath(os.fsdecode(arguments[0]))] += 1


sys.addaudithook(_note_opening)  # of every open() of this process: there is no way to remove it


@pytest.fixture
def opened(monkeypatch):
    """How often each file was opened by this process since, by its real path; safetensors opens its files by itself, unseen."""
    import pyarrow as pa

    def opened_by_arrow(path, mode):
        _note_opening("open", (path,))
        return os_file(path, mode)

    os_file = pa.OSFile
    monkeypatch.setattr(pa, "OSFile", opened_by_arrow)
    _opened.append(Counter())
    yield _opened[-1]
    _opened.pop()


@dataclass(frozen=True)
class Visit:
    """Reads of one visit, what reduces them, and the light (time, column) that the trace received between them."""

    counts: np.ndarray
    detector: Detector
    light: np.ndarray


def draw_maps(rng: np.random.Generator, instrument: Instrument) -> CalibrationMaps:
    shape = (instrument.rows, instrument.columns)
    linearity = np.zeros((6, *shape))
    linearity[1] = 0.9999
    linearity[2] = rng.normal(0, 1e-8, shape)
    linearity[3] = 1.2e-11 * rng.normal(1, 0.1, shape)
    linearity[4], linearity[5] = -6e-17, 1.35e-22
    return CalibrationMaps(
        rng.uniform(0, 0.02, shape),
        rng.normal(1, 0.02, shape),
        rng.normal(13, 0.3, shape),
        np.zeros(shape, bool),
        linearity,
    )


def star_image(instrument: Instrument, brightness: float = 60_000.0) -> np.ndarray:
    """Electrons a sample, (row, column): all light inside the aperture."""
    rows = np.arange(instrument.rows) - (instrument.rows - 1) / 2 - 0.1
    inside = np.zeros(instrument.rows)
    inside[slice(*instrument.trace_rows)] = 1
    across = inside * np.exp(-0.5 * (rows / 1.2) ** 2)
    if instrument.crop is None:
        return brightness * np.outer(across, across) / across.sum() ** 2
    return np.outer(across / across.sum(), brightness * np.linspace(0.3, 1, instrument.columns))


def detect(charge: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Newton's inverse of the linearity polynomial."""
    signal = charge.copy()
    for _ in range(20):
        value, slope = evaluate(coefficients, signal)
        signal = signal - (value - charge) / slope
    return signal


@pytest.fixture(scope="session")
def make_visit():
    def make(
        instrument: Instrument,
        n_samples: int,
        rng: np.random.Generator,
        *,
        noise: bool = True,
        curve: np.ndarray | None = None,
        sky: float = 3.0,
        brightness: float = 60_000.0,
        jitter: float = 0.0,
        maps: CalibrationMaps | None = None,
    ) -> Visit:
        maps = maps or draw_maps(rng, instrument)
        converter = Converter(0.4369, -1000.0)
        curve = np.ones(n_samples) if curve is None else curve
        image = star_image(instrument, brightness) * np.ones((n_samples, 1, 1))
        if jitter:
            shift = rng.normal(0, jitter, (n_samples, 1, 1))
            image = np.maximum(image - shift * np.gradient(image, axis=1), 0)
        light = image * curve.reshape(n_samples, 1, -1) if curve.ndim == 2 else image * curve[:, None, None]
        ramp = (light + sky) * maps.flat + maps.dark * instrument.ramp_time
        start = 0.02 * ramp + maps.dark * 0.1
        if noise:
            start, ramp = rng.poisson(start).astype(float), rng.poisson(ramp).astype(float)
        charge = np.stack([start, start + ramp], 1).reshape(2 * n_samples, *ramp.shape[1:])
        signal = detect(charge, maps.linearity)
        if noise:
            signal = signal + rng.normal(0, maps.read_noise, signal.shape)
        counts = (signal - converter.offset) * converter.gain
        if noise:
            counts = np.clip(np.floor(counts), 0, 65535).astype(np.uint16)
        integration = np.tile([0.1, 0.1 + instrument.ramp_time], n_samples)
        # The start read holds 2 % of the ramp: only the dark must match the integration times.
        stamps = np.repeat(np.arange(n_samples) * instrument.sample_time, 2) + np.tile([0.1, 0.2], n_samples)
        detector = Detector(instrument, converter, maps, maps.dead.copy(), stamps / 3600, integration)
        return Visit(counts, detector, light.sum(1))

    return make


@pytest.fixture(scope="session")
def small_frames(tmp_path_factory, make_visit):
    """Three visits of two planets in Kaggle's layout, twelve AIRS and thirty FGS1 samples each."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    for planet, visit in [("11", 0), ("11", 1), ("23", 0)]:
        for instrument, n in ((AIRS, 12), (FGS1, 30)):
            made = make_visit(instrument, n, rng)
            write_signal(root, "train", planet, visit, instrument, [made.counts])
            write_calibration_maps(root, "train", planet, visit, instrument, made.detector.maps)
    write_axis(root, np.arange(24) / 900, np.tile([0.1, 4.5], 12), np.arange(60) / 10800, airs_wavelengths())
    write_converters(root, {name: made.detector.converter for name in INSTRUMENTS})
    return root


@pytest.fixture(scope="session")
def real_frames(tmp_path_factory):
    """Kaggle's planet 342072318, of which the sample in ../shared/data holds the first reads, with an axis cut to their number."""
    if not (SHARED / "train/342072318").is_dir():
        pytest.skip("needs ../shared/data/adc2025")
    root = tmp_path_factory.mktemp("adc2025")
    for path in SHARED.iterdir():
        (root / path.name).symlink_to(path.resolve())
    axis, source = root / "axis_info.parquet", Archive(SHARED)
    axis.unlink()
    reads = {name: source.signal("train", "342072318", 0, instrument).n_reads for name, instrument in INSTRUMENTS.items()}
    table = read_table(SHARED / "axis_info.parquet")
    times = {name: table[f"{name}-axis0-h"].to_numpy()[:n] for name, n in reads.items()}
    integration = table[f"{AIRS.name}-integration_time"].to_numpy()[: reads[AIRS.name]]
    write_axis(root, times[AIRS.name], integration, times[FGS1.name], source.column_wavelengths())
    return root


def draw_labels(rng: np.random.Generator, wavelength: np.ndarray):
    """Sixteen labelled spectra, p0 … p15, whose features grow with their scale height."""
    from ariel_lib.io.layout import Spectra
    from ariel_lib.priors.scale_height import LabelledSpectra

    scale = np.exp(rng.normal(np.log(1e-4), 0.5, 16))
    shapes = np.sin(3 * wavelength + rng.normal(0, 0.5, (16, 1))) + 0.2 * rng.standard_normal((16, len(wavelength)))
    depth = 0.012 + 1e-3 * rng.standard_normal((16, 1)) + 2 * scale[:, None] * shapes
    return LabelledSpectra(Spectra(tuple(f"p{number}" for number in range(16)), depth), scale)


def draw_corel(rng: np.random.Generator, n: int):
    """Intervals of an untrained quantile network."""
    import torch

    from ariel_lib.uncertainty.corel import FEATURES, Corel, QuantileNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = QuantileNetwork(n).eval()
    return Corel(network, rng.normal(size=FEATURES), 1 + rng.random(FEATURES), 0.9, 1 + rng.random(n), 1.7)


def draw_corrections(rng: np.random.Generator, n: int, bias: float = 0.02):
    """A population of small nuisances, and an instrument that makes every depth too large by the fraction bias."""
    from ariel_lib.transit.population.corrections import PopulationCorrections
    from ariel_lib.transit.population.multiplicative_bias import MultiplicativeBias
    from ariel_lib.transit.population.nuisance_prior import NuisancePrior
    from ariel_lib.transit.result import KINDS

    root = 1e-3 * rng.standard_normal((n, n))
    return PopulationCorrections(NuisancePrior(np.diag(rng.uniform(0.1, 0.9, KINDS))), MultiplicativeBias(np.full(n, bias), root @ root.T))


@pytest.fixture(scope="session")
def make_checkpoint():
    """make(members, settings, corel) → an untrained Checkpoint of thirteen wavelengths, every field unlike its default, and the
    labelled spectra of its prior and library; two planets are held out for each member. settings: of config["model"]."""

    def make(members: int = 2, settings: dict | None = None, corel: bool = False):
        from ariel_lib.models.ensemble import Ensemble  # here: most tests need no torch
        from ariel_lib.models.features import FGS1_CHANNELS, NODE_FEATURES, STAR_FEATURES
        from ariel_lib.models.v50 import V50, Hyperparameters
        from ariel_lib.pipeline.checkpoint import Checkpoint
        from ariel_lib.priors.gaussian import fit_prior
        from ariel_lib.priors.spectral_library import fit_spectral_library
        from ariel_lib.uncertainty.temperature import Temperature

        rng, wavelength = np.random.default_rng(7), np.concatenate([[0.7], np.linspace(1.95, 3.9, 12)])
        labelled = draw_labels(rng, wavelength)
        depth, planets = labelled.labels.depth, labelled.labels.planet_ids
        sizes = {"d_model": 8, "depth": 1, "d_state": 4, "headdim": 8, "embedding": 6, "hidden": 8, "gnn_layers": 1}
        sizes |= {"channels": len(FGS1_CHANNELS), "node_features": NODE_FEATURES, "star_features": STAR_FEATURES}
        sizes |= {"wavelength": wavelength.tolist()}
        checkpoint = Checkpoint(
            network=Ensemble([V50(Hyperparameters(**sizes, seed=seed)) for seed in range(members)]).eval(),
            prior=fit_prior(depth, wavelength),
            initial_prior=fit_spectral_library(depth, wavelength, labelled.scale),
            corrections=draw_corrections(rng, len(wavelength)),
            temperature=Temperature((1.3, 0.8), 1.05, 12),
            wavelength=wavelength,
            fallback_mean=depth.mean(axis=0),
            fallback_sigma=depth.std(axis=0),
            config={"model": {"initial_estimate": "library"} | (settings or {}), "seed": 3},
            held_out=tuple(planets[2 * member : 2 * member + 2] for member in range(members)),
            held_out_biases=tuple(draw_corrections(rng, len(wavelength), 0.03 + 0.01 * member).bias for member in range(members)),
            corel=draw_corel(rng, len(wavelength)) if corel else None,
        )
        return checkpoint, labelled

    return make


@pytest.fixture(scope="session")
def scene():
    """observe(rng, …) → LightCurves; fit(rng, …) → DepthEstimate; and the star, depth and wavelengths simulated."""

    def fit(rng, *, star=STAR, wavelength=WAVELENGTH, **options):
        return estimate_depths([observe_visit(rng, star=star, wavelength=wavelength, **options)], star, wavelength)

    return SimpleNamespace(observe=observe_visit, fit=fit, star=STAR, depth=DEPTH, wavelength=WAVELENGTH, level=LEVEL)


def observe_visit(
    rng, *, t0=3.7, depth=DEPTH, star=STAR, visit=0, n=240, window=7.5, noise=1.0, inclination=88.0, drift=1e-3,
    extra=None, common=None, level=LEVEL, wavelength=WAVELENGTH,
):  # fmt: skip
    """Simulate one visit: limb darkening drawn about published values, the catalogue's orbit, drift, Poisson-like noise.

    extra   factor on the flux, a function of (time (time, 1), wavelength (wavelength,))
    common  (time,)  relative noise common to all wavelengths
    """
    u = LIMB_DARKENING + LIMB_SCATTER * rng.standard_normal(6)
    time = np.linspace(0, window, n)
    b_squared = (star.sma * np.cos(np.radians(inclination))) ** 2
    z, _ = separation(time[:, None], t0, 24 * star.P, np.log(star.sma), b_squared)
    u1, u2 = (at_pivot + slope * (wavelength - 2.9) for at_pivot, slope in (u[2:4], u[4:]))
    u1[0], u2[0] = u[:2]
    flux = transit_flux(z, np.sqrt(depth), u1, u2)[0].T
    x = 2 * time / window - 1
    curve = 1 + drift * rng.standard_normal(3) @ np.stack([x, x**2, x**3])
    expected = level * flux * curve[:, None]
    if extra is not None:
        expected = expected * extra(time[:, None], wavelength)
    observed = expected * (1 + (0 if common is None else common[:, None]))
    observed = observed + noise * np.sqrt(expected) * rng.standard_normal(expected.shape)
    centroid = 0.01 * rng.standard_normal((n, 2))

    def part(columns):
        values = observed[:, columns]
        return LightCurve(
            time, values, np.maximum(expected[:, columns], 1), np.zeros_like(values), centroid, np.zeros(n),
            np.zeros(values.shape, bool),
        )  # fmt: skip

    return LightCurves(star.planet_id, visit, part(0), part(slice(1, None)))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """data, a simulated set of eight training and two test planets; weights, a model trained on it for one epoch; scratch, its fits."""
    from ariel_lib import Dataset, load_config, simulate_dataset, train
    from ariel_lib.training import loop

    root = tmp_path_factory.mktemp("tiny")
    data, scratch = root / "data", root / "model"
    simulate_dataset(data, n_planets=10, n_test=2, seed=3, level="lightcurves")
    sizes = [f"model.{name}" for name in ("d_model=16", "d_state=4", "hidden=8", "gnn_layers=1", "ssm_depth=1")]
    config = load_config(overrides=[f"training.out={scratch}", "training.epochs=1", "calibration.workers=1", *sizes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "DRAWS_AN_EPOCH", 8)
        weights = train(Dataset(data, "train", scratch=scratch), config, log=lambda line: None)["weights"]
    return SimpleNamespace(data=data, weights=Path(weights), scratch=scratch)
