"""Does the microlensing guard keep quiet, find achromatic bumps, and call a spot crossing by its name?

    python benchmarks/microlensing.py --labels LABELS.csv [--planets 200 --seed 6 --magnitudes 6 11]

Simulated visits of full length. Every planet is searched as it is, with an achromatic bump of 100 ppm anywhere in
the visit, and with a spot crossing inside the transit (Planck contrast of a spot 1000 K cooler than the star, 400 ppm at
2.4 micron, and once more 400 ppm at FGS1); each without and with red noise (an Ornstein–Uhlenbeck process common to all
wavelengths, memory 0.5 h). Standard deviations of bumps: 0.04 to 0.12 transit durations. Prints one JSON, by noise: the
median over the seven bands of a minute's standard deviation.

known_transit is the easier trial that the guard's thresholds come from: seven bands of 78 to 268 ppm a minute, the transit
and its orbit known exactly, a quadratic baseline and nothing else to follow. --planets 0 runs it alone, --known 0 leaves it out.

Beside what the guard did stands what could be done. The expected fall of χ² of each injected bump follows from the true noise
and from all that has to be followed (levels, drifts, depths, orbit, limb darkening); one who knows place, width, colour and
noise finds it with probability Φ(√expected − √25), and its colour with Φ(√expected_colour − √6.6):

    findable, colourable       means of these over the trials: what a method that follows the same can reach at these thresholds,
                               but for the luck of choosing among places, and for errors in what it takes the noise to be
    clear, found_of_clear      trials with an expected fall of 49, of which this one finds 98 %; the share of them found
    clear_colour, chromatic_of_clear_colour   the same for 49 and a colour's 21
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from ariel_lib.instrument import INSTRUMENTS
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import light_curves_path, list_light_curves
from ariel_lib.io.light_curves import LightCurves, load_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.simulator import dataset, optics
from ariel_lib.simulator.visit import INTEGRATION_TIMES
from ariel_lib.transit.bumps.bump import COLOURED, EXISTS, find_bump
from ariel_lib.transit.bumps.fit import AIRS_BANDS, detect_bumps, fit_bands, light_near_fit
from ariel_lib.transit.bumps.search import Band
from ariel_lib.transit.orbit import transit_duration
from ariel_lib.transit.physical_priors import UNKNOWN_TEMPERATURE
from ariel_lib.transit.segments import make_segments, merge_channels

RED_PPM = (0, 20, 50)
MEMORY = 0.5  # h
NOISE_EDGES = (268.0, 536.0)  # ppm a minute: the method's source trial went from 78 to 268
COOLER = 1000.0  # K
CLEAR, CLEAR_COLOUR = 49.0, 21.0  # expected falls of χ² that the ideal observer sees 98 % of
CASES = ("quiet", "lens_100", "spot_400", "spot_400_fgs1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--planets", type=int, default=200, help="0: only known_transit")
    parser.add_argument("--known", type=int, default=200, help="trials of known_transit; 0: none")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--magnitudes", type=float, nargs=2, default=(6.0, 11.0), help="K, brightest and faintest")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/microlensing"))
    options = parser.parse_args()
    start, result = time.perf_counter(), {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        if options.known:
            tasks = [(case, red, options.seed, options.known) for case in CASES for red in RED_PPM]
            tables = pool.map(known_transit, *zip(*tasks))
            result["known_transit"] = {f"{case}, red {red} ppm": table for (case, red, *_), table in zip(tasks, tables)}
        if options.planets:
            result |= simulated(options, pool)
    result["seconds"] = round(time.perf_counter() - start)
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "microlensing.json", json.dumps(result, indent=1).encode())


def simulated(options, pool) -> dict:
    data = options.out / "data"
    simulate(data, options.planets, options.seed, tuple(options.magnitudes), options.labels)
    truth = json.loads((data / "truth.json").read_text(encoding="utf-8"))["planets"]
    planets = list(list_light_curves(data / "lightcurves", "test"))[: options.planets]
    task = partial(try_planet, data, options.seed)
    rows = list(pool.map(task, planets, [truth[p] for p in planets], range(len(planets))))
    return {"planets": len(rows), "minute_noise_edges_ppm": NOISE_EDGES, "classes": by_noise(rows)}


def known_transit(case: str, red: int, seed: int, trials: int) -> dict[str, float]:
    """summarise of trials with the transit known."""
    rng = np.random.default_rng([seed, CASES.index(case), red])
    hours, duration = np.arange(0, 7.5, 1 / 60), 2.5
    wavelength, sigma = np.array([0.7, 2.1, 2.4, 2.7, 3.0, 3.3, 3.7]), 1e-6 * np.array([150, 78, 100, 130, 170, 210, 268])
    said, x, colour = [], hours / 3.75 - 1, amplitudes(case, wavelength, 5000.0)
    followed = np.einsum("nm,kt->nmkt", np.eye(7), np.stack([np.ones_like(x), x, x**2])).reshape(7, 21, -1)  # baselines
    with threadpool_limits(1):
        for _ in range(trials):
            width = duration * np.exp(rng.uniform(np.log(0.04), np.log(0.12)))
            bump = np.exp(-0.5 * ((hours - rng.uniform(0.5, 7.0)) / width) ** 2)
            residual = np.outer(colour, bump) + 1e-6 * red * red_noise(hours, rng)
            residual += sigma[:, None] * rng.standard_normal(residual.shape)
            bands = [
                Band(lam, hours, residual[n], np.full(len(hours), sigma[n] ** -2), np.ones(len(hours)), followed[n])
                for n, lam in enumerate(wavelength)
            ]
            found = find_bump(bands, np.zeros(21), duration)
            falls = expected_falls(information(bands, np.zeros(21), [[bump] * 7], 1e-6 * red, np.zeros(7))[0], colour)
            said.append([found.exists, found.achromatic, *falls])
    return summarise(np.array(said))


def simulate(out: Path, planets: int, seed: int, magnitudes: tuple[float, float], labels: Path) -> None:
    """As simulate_dataset does, at light-curve level, with the stars' magnitudes chosen."""
    drawn = dataset.draw_planets(seed, {"train": 0, "test": planets}, 1, magnitudes, dataset.read_labels(labels))
    dataset.write_truth(out, drawn, seed=seed, size="full", level="lightcurves")
    dataset.write_tables(out, drawn, dataset.FULL_SAMPLES)
    for number, (split, _, planet) in enumerate(drawn):
        dataset.write_light_curves(out, split, planet, 0, dataset.FULL_SAMPLES, None, np.random.default_rng([seed, number]))


def try_planet(data: Path, seed: int, planet: str, truth: dict, number: int) -> dict:
    """Noise, and what the guard says in every case: {(case, red ppm): [exists, achromatic, expected falls of χ²]}."""
    archive, rng = Archive(data), np.random.default_rng([seed, number])
    wavelength, star = archive.wavelengths(), archive.star("test", planet)
    curves = load_light_curves(light_curves_path(data / "lightcurves", "test", planet, 0))
    orbit, k = truth["orbit"], np.sqrt(np.mean(truth["depth"]))
    b_squared = (orbit["a"] * np.cos(np.radians(orbit["inclination"]))) ** 2
    duration = transit_duration(orbit["period"], np.log(orbit["a"]), b_squared, k)
    t0, temperature = np.ravel(truth["mid_transits"])[0], star.Ts if star else UNKNOWN_TEMPERATURE
    first, last, said, shapes = curves.airs.time[0], curves.airs.time[-1], {}, []
    with threadpool_limits(1):
        problem, fit = fit_bands([curves], star, wavelength)
        bands, precision = light_near_fit(problem, fit, curves.visit)
        gain = np.concatenate([[gain_variance(s)] * len(s.channels) for s in problem.segments])
        for case in CASES:
            width = duration * np.exp(rng.uniform(np.log(0.04), np.log(0.12)))
            place = rng.uniform(first + 2 * width, last - 2 * width) if case == "lens_100" else t0 + duration * rng.uniform(-0.35, 0.35)
            shapes.append([np.exp(-0.5 * ((band.time - place) / width) ** 2) for band in bands])
            colour = amplitudes(case, wavelength, temperature)
            for red in RED_PPM:
                changed = inject(curves, place, width, colour, 1e-6 * red, rng)
                bump = detect_bumps([changed], star, wavelength)[0].bump
                said[f"{case}/{red}"] = [bump.exists, bump.achromatic]
        in_bands = np.array([band.wavelength for band in bands])
        for red in RED_PPM:
            for case, power in zip(CASES, information(bands, precision, shapes, 1e-6 * red, gain)):
                said[f"{case}/{red}"] += expected_falls(power, amplitudes(case, in_bands, temperature))
        return {"noise": minute_noise(curves, wavelength), "said": said}


def information(bands: list[Band], precision: np.ndarray, shapes: list, red: float, gain: np.ndarray) -> list[np.ndarray]:
    """Fisher information (band, band) on the amplitudes of each shape (band, time), all that is followed marginalised.

    True noise: each band's own, gain (band,) common to bands sampled together, a variance a sample, and red noise common to all.
    """
    groups = {band.time.tobytes(): (n, band.time) for n, band in enumerate(bands)}
    time = np.concatenate([t for _, t in groups.values()])
    start = dict(zip(groups, np.cumsum([0] + [len(t) for _, t in groups.values()])))
    common = red**2 * np.exp(-np.abs(time[:, None] - time) / MEMORY)
    common += np.diag(np.concatenate([np.full(len(t), gain[n]) for n, t in groups.values()]))
    p, n = len(precision), len(bands)
    normal = np.diag(np.concatenate([precision, np.zeros(len(shapes) * n)]))
    seen, weight = np.zeros((len(time), len(normal))), np.zeros(len(time))
    for place, band in enumerate(bands):
        rows = np.zeros((len(normal), len(band.time)))
        rows[:p] = band.design
        rows[p + place :: n] = np.array([shape[place] for shape in shapes]) * band.flux
        where = slice(start[band.time.tobytes()], start[band.time.tobytes()] + len(band.time))
        normal += (rows * band.weight) @ rows.T
        seen[where] += (rows * band.weight).T
        weight[where] += band.weight
    normal -= seen.T @ np.linalg.solve(np.eye(len(time)) + common * weight, common @ seen)  # Woodbury
    scale = 1 / np.sqrt(np.diag(normal))
    normal *= scale[:, None] * scale
    followed = np.linalg.pinv(normal[:p, :p], rcond=1e-13, hermitian=True)
    out = []
    for first in range(p, len(normal), n):
        own = slice(first, first + n)
        power = normal[own, own] - normal[own, :p] @ followed @ normal[:p, own]
        out.append(power / scale[own, None] / scale[own])
    return out


def expected_falls(power: np.ndarray, colour: np.ndarray) -> list[float]:
    """Of χ² by a bump of amplitudes colour (band,), and by its colour against the best grey one."""
    signal, grey = power @ colour, power.sum(axis=1)
    return [float(colour @ signal), float(colour @ signal - signal.sum() ** 2 / grey.sum())]


def gain_variance(segment) -> float:
    """Of the gain's scatter that the simulator gives all wavelengths of an instrument, a sample of the segment."""
    name = segment.instrument
    first, second = INTEGRATION_TIMES[name]
    ramp = optics.GAIN_NOISE[name] * np.hypot(first, second) / (second - first)
    return ramp**2 * INSTRUMENTS[name].sample_time / 3600 / segment.exposure


def amplitudes(case: str, wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Relative brightening at the top of the bump, (wavelength,)."""
    if case == "quiet":
        return np.zeros(len(wavelength))
    if case == "lens_100":
        return np.full(len(wavelength), 1e-4)

    def contrast(micron: np.ndarray) -> np.ndarray:
        return 1 - np.expm1(14387.8 / (micron * temperature)) / np.expm1(14387.8 / (micron * (temperature - COOLER)))

    pivot = 0.7 if case.endswith("fgs1") else 2.4
    return 4e-4 * contrast(wavelength) / contrast(np.array(pivot))


def inject(curves: LightCurves, place: float, width: float, amplitude: np.ndarray, red: float, rng) -> LightCurves:
    """The visit with a Gaussian bump (h) of relative amplitude (wavelength,) and red noise of standard deviation red."""
    grid = curves.airs.time
    series = red_noise(grid, rng)

    def times(curve, columns):
        bump = np.exp(-0.5 * ((curve.time - place) / width) ** 2)
        factor = 1 + bump[:, None] * columns + red * np.interp(curve.time, grid, series)[:, None]
        return replace(curve, flux=curve.flux * factor.reshape(len(factor), -1).squeeze(-1 if curve.flux.ndim == 1 else ()))

    return replace(curves, fgs1=times(curves.fgs1, amplitude[:1]), airs=times(curves.airs, amplitude[1:]))


def red_noise(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An Ornstein–Uhlenbeck process of variance one and memory MEMORY, (time,)."""
    decay = np.exp(-np.diff(time) / MEMORY)
    series = rng.standard_normal(len(time))
    for n, share in enumerate(decay, 1):
        series[n] = share * series[n - 1] + np.sqrt(1 - share**2) * series[n]
    return series


def minute_noise(curves: LightCurves, wavelength: np.ndarray) -> float:
    """Median over the seven bands of the propagated standard deviation of one minute, ppm."""
    found = []
    for segment in make_segments([curves], wavelength):
        for row in merge_channels(segment, AIRS_BANDS).weight:
            found.append(1e6 / np.sqrt(np.median(row) * (1 / 60) / segment.exposure))
    return float(np.median(found))


def summarise(said: np.ndarray) -> dict[str, float]:
    """said (trial, 4): exists, achromatic, expected falls for the bump and for its colour. Shares as the header names them."""
    exists, grey = said[:, 0].astype(bool), said[:, 1].astype(bool)
    gain, colour = np.maximum(said[:, 2:].T, 0)
    findable = norm.cdf(np.sqrt(gain) - np.sqrt(EXISTS))
    row = {"found": exists, "found_and_achromatic": grey, "found_and_chromatic": exists & ~grey}
    if not gain.any():
        return {name: round(float(np.mean(value)), 4) for name, value in row.items()}
    clear, both = gain >= CLEAR, (gain >= CLEAR) & (colour >= CLEAR_COLOUR)
    row |= {"findable": findable, "clear": clear, "found_of_clear": exists[clear]}
    if colour.max() > 1e-6 * gain.max():
        row |= {
            "colourable": findable * norm.cdf(np.sqrt(colour) - np.sqrt(COLOURED)),
            "clear_colour": both, "chromatic_of_clear_colour": (exists & ~grey)[both],
        }  # fmt: skip
    return {name: round(float(np.mean(value)), 4) if len(value) else None for name, value in row.items()}


def by_noise(rows: list[dict]) -> dict[str, dict]:
    """summarise of all planets and by noise class: {class: {planets, case: …}}."""
    edges = [0.0, *NOISE_EDGES, np.inf]
    classes = {"all": rows} | {
        f"{low:g}-{high:g} ppm": [r for r in rows if low <= r["noise"] < high] for low, high in pairwise(edges)
    }
    return {
        name: {"planets": len(members)} | {
            f"{case}, red {red} ppm": summarise(np.array([r["said"][f"{case}/{red}"] for r in members], float))
            for case in CASES for red in RED_PPM if members
        }
        for name, members in classes.items()
    }  # fmt: skip


if __name__ == "__main__":
    main()
