"""Simulated data sets on disk: tables, truth, and frames in Kaggle's layout or light curves in the format of calibration.

The random stream of each planet is spawned from the seed by split and number; it does not depend on the number of planets.
"""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ariel_lib.calibration.binning import bin_light_curve
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.instrument import ADC_GAIN, ADC_OFFSET, AIRS, FGS1, INSTRUMENTS, airs_wavelengths, spectrum_wavelengths
from ariel_lib.io import writer
from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import SPLITS, CalibrationMaps, Converter, Spectra, Star, light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.tables import read_spectra, read_table
from ariel_lib.simulator import photometry, visit
from ariel_lib.simulator.detector import draw_calibration_maps
from ariel_lib.simulator.planet import SHIFTED, Nuisances, Planet, draw_planet
from ariel_lib.simulator.systematics.mixture import Recipe, read_recipe
from ariel_lib.simulator.systematics.planets import RECORD, DisturbedPlanet, disturb, write_record

FULL_SAMPLES = {FGS1.name: 67500, AIRS.name: 5625}  # pairs of reads in the 7.5 h of a real visit
COMPRESSION = {"full": 1, "toy": 25}  # factor by which reads are fewer and orbits faster
LEVELS = ("frames", "lightcurves")
FAINTEST = {"full": 11.0, "toy": 8.0}  # K magnitude; toy stars are brighter because their visits are shorter
BRIGHTEST = 6.0
THREADS = 2  # planets at a time; drawing noise and compression release the interpreter lock
TRUTH_FILE = "truth.json"
CONVERTER = Converter(ADC_GAIN, ADC_OFFSET)
_PLANET, _VISIT, _LABELS, _SYSTEMATICS = 0, 1, 2, 3  # keys of the random streams spawned from the seed


@dataclass(frozen=True)
class Labels:
    """Spectra to simulate and their stars (None without a star table beside the file of spectra)."""

    spectra: Spectra
    stars: tuple[Star | None, ...]


def simulate_dataset(
    out: Path | str,
    *,
    n_planets: int,
    seed: int,
    size: str = "toy",
    labels: Path | str | None = None,
    level: str = "frames",
    calibration_from: Path | str | None = None,
    n_test: int | None = None,
    shifted: bool = False,
    systematics: str = "nominal",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Simulate n_planets planets and write them under out, replacing an earlier simulation there.

    size              full: visits of 7.5 h; toy: 25 times fewer reads
    labels            csv of spectra, drawn without replacement while there are enough; None: spectra are simulated
    level             frames: Kaggle's layout; lightcurves: out/lightcurves/{train,test}/<planet>_<visit>.safetensors
    calibration_from  folder of a planet whose calibration maps are used for all; None: maps are drawn for each visit
    n_test            planets of the test split, by default a quarter; their spectra are written to test.csv
    shifted           draw drifts and limb darkening of the test split from other distributions than the training split
    systematics       families of systematics, as simulator.systematics.mixture.read_recipe reads them; nominal: polynomial drifts.
                      TRAINING/TEST: others for the test split than for the training split
    progress          called with (planets done, planets in total)

    Raises SpectraMindError for invalid arguments, ArchiveError for bad files or if out holds other files.

    >>> from ariel_lib import Dataset, simulate_dataset
    >>> simulate_dataset(out / "sky", n_planets=2, n_test=1, seed=1, level="lightcurves")
    >>> len(Dataset(out / "sky", split="test").planets)
    1
    """
    out, n_test = Path(out), n_planets // 4 if n_test is None else n_test
    _check_arguments(n_planets, n_test, size, level)
    recipes = read_recipes(systematics)
    source = read_labels(Path(labels)) if labels else None
    maps = read_maps(Path(calibration_from)) if calibration_from else None
    counts, magnitudes = {"train": n_planets - n_test, "test": n_test}, (BRIGHTEST, FAINTEST[size])
    planets = draw_planets(seed, counts, COMPRESSION[size], magnitudes, source, shifted=shifted)
    n_samples = {name: samples // COMPRESSION[size] for name, samples in FULL_SAMPLES.items()}
    disturbed = {}
    for split, recipe in recipes.items() if systematics != "nominal" else ():
        disturbed |= disturb_planets(seed, [drawn for drawn in planets if drawn[0] == split], recipe, COMPRESSION[size])
    planets = [(split, number, disturbed[planet.planet_id].planet if disturbed else planet) for split, number, planet in planets]
    _clear_previous(out)
    write_truth(out, planets, seed=seed, size=size, level=level, shifted=shifted)
    if disturbed:
        write_record(out, systematics, seed, disturbed)
    write_tables(out, planets, n_samples)
    write = write_frames if level == "frames" else write_light_curves

    def write_planet(drawn: tuple[str, int, Planet]) -> None:
        split, number, planet = drawn
        for which in range(planet.n_visits):
            rng = _generator(seed, SPLITS.index(split), number, _VISIT, which)
            write(out, split, planet, which, n_samples, maps, rng, disturbed.get(planet.planet_id))

    threads = 1 if (size, level) == ("full", "frames") else THREADS
    _run(write_planet, planets, threads, progress)


def draw_planets(
    seed: int, counts: dict[str, int], compression: float, magnitudes: tuple[float, float], labels: Labels | None,
    *, shifted: bool = False,
) -> list[tuple[str, int, Planet]]:
    """Draw all planets, as (split, number within the split, planet).

    counts: planets by split; compression and magnitudes as in draw_planet. Labels are shuffled once; train takes rows from the
    front and test from the back, so no spectrum is in both splits unless there are no more rows than test planets.
    """
    wavelengths, window = spectrum_wavelengths(), FULL_SAMPLES[AIRS.name] * AIRS.sample_time / 3600 / compression
    shuffled = None if labels is None else _generator(seed, _LABELS).permutation(len(labels.spectra.depth))
    planets, taken = [], set()
    for split, count in counts.items():
        nuisances = SHIFTED if shifted and split == "test" else Nuisances()
        for number in range(count):
            rng = _generator(seed, SPLITS.index(split), number, _PLANET)
            planet_id = str(rng.integers(1, 2**32))
            while planet_id in taken:
                planet_id = str(rng.integers(1, 2**32))
            taken.add(planet_id)
            depth, star = None, None
            if labels is not None:
                row = _label_row(shuffled, split, number, counts["test"])
                depth, star = labels.spectra.depth[row], labels.stars[row]
            drawn = draw_planet(rng, planet_id, wavelengths, window, compression, magnitudes, depth, star, nuisances)
            planets.append((split, number, drawn))
    return planets


def read_recipes(systematics: str) -> dict[str, Recipe]:
    """The recipe of each split: read_recipe of the name, or of its two parts around a slash. Raises SpectraMindError for another name."""
    training, slash, test = systematics.partition("/")
    return dict(zip(SPLITS, (read_recipe(training), read_recipe(test if slash else training))))


def disturb_planets(
    seed: int, planets: list[tuple[str, int, Planet]], recipe: Recipe, compression: float
) -> dict[str, DisturbedPlanet]:
    """Draw the systematics of all planets, by planet id; arguments as in draw_planets."""
    length = FULL_SAMPLES[AIRS.name] * AIRS.sample_time / 3600
    streams = (np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), number, _SYSTEMATICS)) for split, number, _ in planets)
    return {
        planet.planet_id: disturb(planet, recipe, compression, length, stream)
        for (_, _, planet), stream in zip(planets, streams, strict=True)
    }


def write_frames(
    out: Path, split: str, planet: Planet, number: int, n_samples: dict[str, int],
    maps: dict[str, CalibrationMaps] | None, rng: np.random.Generator, disturbed: DisturbedPlanet | None = None,
) -> None:  # fmt: skip
    """Simulate and write raw reads and calibration maps of one visit; maps None: drawn."""
    maps = maps or draw_maps(rng)
    for name, scene in visit.draw_scenes(rng, planet, number, n_samples, disturbed).items():
        counts = visit.stream_counts(scene, maps[name], CONVERTER, rng)
        writer.write_calibration_maps(out, split, planet.planet_id, number, scene.instrument, maps[name])
        writer.write_signal(out, split, planet.planet_id, number, scene.instrument, counts)


def write_light_curves(
    out: Path, split: str, planet: Planet, number: int, n_samples: dict[str, int],
    maps: dict[str, CalibrationMaps] | None, rng: np.random.Generator, disturbed: DisturbedPlanet | None = None,
) -> None:  # fmt: skip
    """Simulate light curves of one visit without frames and write them as calibration would, at its default cadence."""
    maps, settings, curves = maps or draw_maps(rng), CalibrationSettings(), {}
    wanted = {FGS1.name: settings.fgs1_samples, AIRS.name: settings.airs_samples}
    for name, scene in visit.draw_scenes(rng, planet, number, n_samples, disturbed).items():
        curve = photometry.observe(scene, maps[name], CONVERTER, rng)
        width = max(1, len(curve.time) // wanted[name]) if wanted[name] else 1
        curves[name] = _round(bin_light_curve(curve, width))
    provenance = {"source": "simulator"}
    curves = LightCurves(planet.planet_id, number, curves[FGS1.name], curves[AIRS.name], provenance)
    save_light_curves(light_curves_path(out / "lightcurves", split, planet.planet_id, number), curves)


def write_tables(out: Path, planets: list[tuple[str, int, Planet]], n_samples: dict[str, int]) -> None:
    """Write the tables of a data set: axes, converters, wavelengths, stars, labels and sample submission."""
    out.mkdir(parents=True, exist_ok=True)
    n_airs = n_samples[AIRS.name]
    airs, fgs1 = (visit.read_times(instrument, 2 * n_samples[instrument.name]) for instrument in (AIRS, FGS1))
    writer.write_axis(out, airs, np.tile(visit.AIRS_INTEGRATION_TIMES, n_airs), fgs1, airs_wavelengths())
    writer.write_converters(out, {FGS1.name: CONVERTER, AIRS.name: CONVERTER})
    writer.write_wavelengths(out, spectrum_wavelengths())
    for split in SPLITS:
        chosen = [planet for its_split, _, planet in planets if its_split == split]
        writer.write_stars(out, split, [planet.catalogue for planet in chosen])
        depth = np.array([planet.depth for planet in chosen]).reshape(len(chosen), len(spectrum_wavelengths()))
        writer.write_spectra(out / f"{split}.csv", Spectra(tuple(planet.planet_id for planet in chosen), depth))
    test = read_table(out / "test.csv")
    if test.empty:  # a sample submission lists at least one planet
        (out / "sample_submission.csv").unlink(missing_ok=True)
        return
    guess = test.assign(**{name: 0.0147 for name in test.columns[1:]})
    sigma = {name.replace("wl", "sigma"): np.full(len(test), 0.0107) for name in test.columns[1:]}
    writer.write_csv(out / "sample_submission.csv", pd.concat([guess, pd.DataFrame(sigma)], axis=1))


def write_truth(out: Path, planets: list[tuple[str, int, Planet]], **settings: int | str) -> None:
    """Write truth.json: settings of the run and all parameters drawn, by planet. It marks the folder as a simulation."""
    record = {
        **settings,
        "planets": {planet.planet_id: {"split": split, **asdict(planet)} for split, _, planet in planets},
    }
    write_atomically(out / TRUTH_FILE, json.dumps(record, default=lambda array: array.tolist()).encode())


def read_labels(path: Path) -> Labels:
    """Read a csv of labels and the star table of the same split in its folder.

    Raises ArchiveError for a wrong number of wavelengths or depths that are not positive.
    """
    spectra = read_spectra(path)
    expected = len(spectrum_wavelengths())
    if spectra.depth.shape[1] != expected:
        raise ArchiveError(path, f"wl_1 … wl_{expected}", f"{spectra.depth.shape[1]} wavelengths")
    if not (spectra.depth > 0).all():
        raise ArchiveError(path, "positive depths", f"a depth of {spectra.depth.min()}")
    folder, split = Archive(path.parent), path.stem.removesuffix("_labels")
    stars = tuple(folder.star(split, planet) for planet in spectra.planet_ids)
    for star in stars:
        if star is not None and star.missing:
            table, found = path.with_name(f"{split}_star_info.csv"), f"no usable {', '.join(star.missing)}"
            raise ArchiveError(table, f"all parameters of planet {star.planet_id}", found)
    return Labels(spectra, stars)


def draw_maps(rng: np.random.Generator) -> dict[str, CalibrationMaps]:
    """Draw calibration maps of one visit, by instrument name."""
    return {name: draw_calibration_maps(rng, instrument) for name, instrument in INSTRUMENTS.items()}


def read_maps(folder: Path) -> dict[str, CalibrationMaps]:
    """Read the calibration maps of the first visit in a planet's folder, by instrument name."""
    source, split, planet = Archive(folder.resolve().parents[1]), folder.resolve().parent.name, folder.resolve().name
    first = source.visits(split, planet)[0]
    return {name: source.calibration_maps(split, planet, first, instrument) for name, instrument in INSTRUMENTS.items()}


def _run(task: Callable, items: list, threads: int, progress: Callable[[int, int], None] | None) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for done, _ in enumerate(pool.map(task, items), start=1):
            if progress:
                progress(done, len(items))


def _check_arguments(n_planets: int, n_test: int, size: str, level: str) -> None:
    if not 0 <= n_test <= n_planets or n_planets < 1:
        raise SpectraMindError(
            f"expected at least one planet and a test split within them, found n_planets={n_planets}, n_test={n_test}"
        )
    if size not in COMPRESSION:
        raise SpectraMindError(f"size: expected one of {', '.join(COMPRESSION)}, found {size!r}")
    if level not in LEVELS:
        raise SpectraMindError(f"level: expected one of {', '.join(LEVELS)}, found {level!r}")


def _clear_previous(out: Path) -> None:
    """Remove the planets of an earlier simulation. Raises ArchiveError for a folder with other files."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / TRUTH_FILE).is_file():
        raise ArchiveError(
            out, "an empty folder or an earlier simulation", f"files but no {TRUTH_FILE}", "Choose another folder."
        )
    (out / RECORD).unlink(missing_ok=True)
    for folder in (*SPLITS, "lightcurves"):
        shutil.rmtree(out / folder, ignore_errors=True)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _label_row(shuffled: np.ndarray, split: str, number: int, n_test: int) -> int:
    """Row of the labels for planet number of a split: from the back of the shuffled rows for test, else from the front."""
    if split == "test":
        return int(shuffled[-1 - number % len(shuffled)])
    others = len(shuffled) - n_test if len(shuffled) > n_test else len(shuffled)
    return int(shuffled[number % others])


def _round(curve: LightCurve) -> LightCurve:
    """Reduce a light curve to the float32 precision in which calibration writes it."""
    names = ("flux", "variance_poisson", "variance_read", "centroid", "background")
    return replace(curve, **{name: getattr(curve, name).astype(np.float32) for name in names})
