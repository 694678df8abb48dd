"""Does the microlensing guard keep quiet, find achromatic bumps, and call a spot crossing by its name?

    python benchmarks/microlensing.py --labels LABELS.csv [--planets 200 --seed 6 --magnitudes 6 11]

Simulated visits of full length. Every planet is guarded as it is, with an achromatic bump of 100 ppm anywhere in
the visit, and with a spot crossing inside the transit (Planck contrast of a spot 1000 K cooler than the star, 400 ppm at
2.4 micron, and once more 400 ppm at FGS1); each without and with red noise (an Ornstein–Uhlenbeck process common to all
wavelengths, memory 0.5 h). Standard deviations of bumps: 0.04 to 0.12 transit durations. Prints one JSON, by noise: the
median over the seven bands of a minute's standard deviation.

known_transit is the easier trial that the guard's thresholds come from: seven bands of 78 to 268 ppm a minute, white noise,
the transit and its orbit known exactly, a quadratic baseline and nothing else to follow. --planets 0 runs it alone.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ariel_lib.archive import Archive
from ariel_lib.calibration.light_curves import LightCurves, light_curves_path, list_light_curves, load_light_curves
from ariel_lib.checking import AIRS_BANDS, guard_planet
from ariel_lib.simulator import dataset
from ariel_lib.storage import write_atomically
from ariel_lib.symbolic.microlensing import Band, find_bump
from ariel_lib.transit.estimate import UNKNOWN_TEMPERATURE
from ariel_lib.transit.orbit import transit_duration
from ariel_lib.transit.segments import make_segments, merge_channels

RED_PPM = (0, 20, 50)
MEMORY = 0.5  # h
NOISE_EDGES = (268.0, 536.0)  # ppm a minute: the method's source trial went from 78 to 268
COOLER = 1000.0  # K
CASES = ("quiet", "lens_100", "spot_400", "spot_400_fgs1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="csv of spectra to draw from")
    parser.add_argument("--planets", type=int, default=200, help="0: only known_transit")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--magnitudes", type=float, nargs=2, default=(6.0, 11.0), help="K, brightest and faintest")
    parser.add_argument("--out", type=Path, default=Path("build/microlensing"))
    options = parser.parse_args()
    result = {"known_transit": known_transit(200, options.seed)}
    if options.planets:
        result |= simulated(options)
    print(json.dumps(result, indent=1))
    write_atomically(options.out / "microlensing.json", json.dumps(result, indent=1).encode())


def simulated(options) -> dict:
    data = options.out / "data"
    simulate(data, options.planets, options.seed, tuple(options.magnitudes), options.labels)
    truth = json.loads((data / "truth.json").read_text())["planets"]
    planets = list(list_light_curves(data / "lightcurves", "test"))[: options.planets]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(partial(try_planet, data), planets, [truth[p] for p in planets], range(len(planets))))
    return {"planets": len(rows), "minute_noise_edges_ppm": NOISE_EDGES} | summarise(rows)


def known_transit(trials: int, seed: int) -> dict[str, dict[str, float]]:
    """Shares found, found and called achromatic, found and called chromatic, by case and red noise (ppm)."""
    rng, time, duration = np.random.default_rng([seed, 1]), np.arange(0, 7.5, 1 / 60), 2.5
    wavelength, sigma = np.array([0.7, 2.1, 2.4, 2.7, 3.0, 3.3, 3.7]), 1e-6 * np.array([150, 78, 100, 130, 170, 210, 268])
    table = {}
    for case in CASES:
        for red in RED_PPM:
            said = []
            for _ in range(trials):
                width = duration * np.exp(rng.uniform(np.log(0.04), np.log(0.12)))
                bump = np.exp(-0.5 * ((time - rng.uniform(0.5, 7.0)) / width) ** 2)
                common = 1e-6 * red * red_noise(time, rng)
                residual = np.outer(amplitudes(case, wavelength, 5000.0), bump) + common
                residual += sigma[:, None] * rng.standard_normal(residual.shape)
                bands = [
                    Band(lam, time, r, np.full(len(time), s**-2), np.ones(len(time)), np.zeros((0, len(time))))
                    for lam, r, s in zip(wavelength, residual, sigma)
                ]
                found = find_bump(bands, np.zeros(0), duration)
                said.append([found.exists, found.achromatic, found.chromatic])
            names = ("found", "found_and_achromatic", "found_and_chromatic")
            table[f"{case}, red {red} ppm"] = dict(zip(names, np.mean(said, axis=0).round(4).tolist()))
    return table


def simulate(out: Path, planets: int, seed: int, magnitudes: tuple[float, float], labels: Path) -> None:
    """As simulate_dataset does, at light-curve level, with the stars' magnitudes chosen."""
    drawn = dataset.draw_planets(seed, {"train": 0, "test": planets}, 1, magnitudes, dataset.read_labels(labels))
    dataset.write_truth(out, drawn, seed=seed, size="full", level="lightcurves")
    dataset.write_tables(out, drawn, dataset.FULL_SAMPLES)
    for number, (split, _, planet) in enumerate(drawn):
        dataset.write_light_curves(out, split, planet, 0, dataset.FULL_SAMPLES, None, np.random.default_rng([seed, number]))


def try_planet(data: Path, planet: str, truth: dict, number: int) -> dict:
    """Noise, and what the guard says in every case: {(case, red ppm): [exists, achromatic]}."""
    archive, rng = Archive(data), np.random.default_rng([6, number])
    wavelength, star = archive.wavelengths(), archive.star("test", planet)
    curves = load_light_curves(light_curves_path(data / "lightcurves", "test", planet, 0))
    orbit, k = truth["orbit"], np.sqrt(np.mean(truth["depth"]))
    b_squared = (orbit["a"] * np.cos(np.radians(orbit["inclination"]))) ** 2
    duration = transit_duration(orbit["period"], np.log(orbit["a"]), b_squared, k)
    t0 = np.ravel(truth["mid_transits"])[0]
    said = {}
    with threadpool_limits(1):
        noise = minute_noise(curves, wavelength)
        for case in CASES:
            first, last = curves.airs.time[0], curves.airs.time[-1]
            width = duration * np.exp(rng.uniform(np.log(0.04), np.log(0.12)))
            place = rng.uniform(first + 2 * width, last - 2 * width) if case == "lens_100" else t0 + duration * rng.uniform(-0.35, 0.35)
            contrast = amplitudes(case, wavelength, star.Ts if star else UNKNOWN_TEMPERATURE)
            for red in RED_PPM:
                changed = inject(curves, place, width, contrast, 1e-6 * red, rng)
                bump = guard_planet([changed], star, wavelength)[0].bump
                said[f"{case}/{red}"] = [bool(bump.exists), bool(bump.achromatic)]
    return {"noise": noise, "said": said}


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


def summarise(rows: list[dict]) -> dict:
    """Shares for all planets and by noise class: {case: {red: {planets, found, of these achromatic}}}."""
    edges = [0.0, *NOISE_EDGES, np.inf]
    classes = {"all": rows} | {
        f"{low:g}-{high:g} ppm": [r for r in rows if low <= r["noise"] < high] for low, high in pairwise(edges)
    }
    table = {}
    for name, members in classes.items():
        table[name] = {"planets": len(members)}
        for case in CASES if members else ():
            for red in RED_PPM:
                exists, grey = np.array([r["said"][f"{case}/{red}"] for r in members]).T
                table[name][f"{case}, red {red} ppm"] = {
                    "found": round(float(exists.mean()), 4),
                    "found_and_achromatic": round(float(grey.mean()), 4),
                    "found_and_chromatic": round(float((exists & ~grey).mean()), 4),
                }
    return {"classes": table}


if __name__ == "__main__":
    main()
