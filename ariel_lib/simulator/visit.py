"""One visit of a planet on both detectors: light curve, optics and detector combined to a stream of counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ariel_lib.instrument import AIRS, FGS1, FGS1_INTEGRATION_TIMES, INSTRUMENTS, Instrument, airs_wavelengths
from ariel_lib.io.layout import CalibrationMaps, Converter
from ariel_lib.simulator import detector, light_curve, optics, star
from ariel_lib.simulator.planet import Planet
from ariel_lib.simulator.systematics.disc import Disc
from ariel_lib.simulator.systematics.planets import DisturbedPlanet

AIRS_INTEGRATION_TIMES = (0.1, 4.5)  # s, AIRS-CH0-integration_time of axis_info.parquet
INTEGRATION_TIMES = {FGS1.name: FGS1_INTEGRATION_TIMES, AIRS.name: AIRS_INTEGRATION_TIMES}
READ_OFFSETS = (0.1, 0.2)  # s after the start of a pair: time stamps of its reads in axis_info.parquet
SKY_RATE = {FGS1.name: 2.0, AIRS.name: 1.0}  # electrons/s per pixel, median of the drawn backgrounds
BLOCK_SAMPLES = {FGS1.name: 2000, AIRS.name: 200}  # about 20 MB in double precision


@dataclass(frozen=True)
class Scene:
    """Light on one detector during one visit.

    images      (6, row, column)    electrons/s: image of the star and its derivatives by the pointing
    sky         (row, column)       electrons/s: background
    brightness  (time, 1 | column)  drift times transit, 1 for the star alone
    basis       (time, 6)           weights of the images in each sample
    pointing    (time, 2)           pixels
    time        (time,)             h, mid-ramp
    """

    instrument: Instrument
    images: np.ndarray
    sky: np.ndarray
    brightness: np.ndarray
    basis: np.ndarray
    pointing: np.ndarray
    time: np.ndarray

    def photon_rate(self, start: int, stop: int) -> np.ndarray:
        """Photon rate before the flat field, (time, row, column) electrons/s, of samples start to stop."""
        star_light = (self.basis[start:stop] @ self.images.reshape(len(self.images), -1)).reshape(-1, *self.sky.shape)
        return star_light * self.brightness[start:stop, None, :] + self.sky


def read_times(instrument: Instrument, n_reads: int) -> np.ndarray:
    """Time stamps of the reads as listed in axis_info.parquet, h, (time,)."""
    pair, second = np.divmod(np.arange(n_reads), 2)
    return (instrument.sample_time * pair + np.array(READ_OFFSETS)[second]) / 3600


def sample_times(instrument: Instrument, n_samples: int) -> np.ndarray:
    """Mid-ramp times, h, (time,): time stamp of the second read plus half a ramp."""
    return read_times(instrument, 2 * n_samples)[1::2] + 0.5 * instrument.ramp_time / 3600


def draw_scenes(
    rng: np.random.Generator, planet: Planet, visit: int, n_samples: dict[str, int], disturbed: DisturbedPlanet | None = None
) -> dict[str, Scene]:
    """Scenes of both instruments by name; pointing and background are drawn. n_samples: pairs of reads by name.

    disturbed: the same planet with its systematics, which are drawn from streams of their own; None: nominal
    """
    pointing = dict(
        zip((FGS1.name, AIRS.name), optics.draw_pointing(rng, n_samples[FGS1.name], n_samples[AIRS.name]), strict=True)
    )
    sky = float(np.exp(rng.normal(0, 0.5)))
    times = {name: sample_times(instrument, n_samples[name]) for name, instrument in INSTRUMENTS.items()}
    drawn, disc = (disturbed.draw_visit(visit, times), disturbed.disc) if disturbed else (None, None)
    scenes = {}
    for name, instrument in INSTRUMENTS.items():
        brightness = _brightness(instrument, planet, visit, times[name], disc)
        moved = pointing[name]
        if drawn is not None:
            brightness *= _in_columns(instrument, drawn.factor(name))
            moved = moved + drawn.pointing[name]
        scenes[name] = Scene(
            instrument=instrument,
            images=optics.image_derivatives(instrument, _star_rates(instrument, planet)),
            sky=_sky_image(instrument, sky),
            brightness=brightness,
            basis=optics.jitter_basis(moved, optics.JITTER_RESPONSE[name]),
            pointing=moved,
            time=times[name],
        )
    return scenes


def stream_counts(
    scene: Scene, maps: CalibrationMaps, converter: Converter, rng: np.random.Generator, block: int | None = None
) -> Iterator[np.ndarray]:
    """Yield the reads of a visit in order, uint16 (time, row, column), block pairs at a time."""
    name = scene.instrument.name
    block = block or BLOCK_SAMPLES[name]
    for start in range(0, len(scene.time), block):
        rate = detector.charge_rate(scene.photon_rate(start, start + block), maps)
        charge = detector.accumulate(rate, INTEGRATION_TIMES[name], rng)
        charge *= 1 + optics.GAIN_NOISE[name] * rng.standard_normal((len(charge), 2, 1, 1))
        electrons = detector.read_out(detector.detect(charge, maps.linearity), maps.read_noise, rng)
        yield detector.digitise(electrons, converter).reshape(-1, *scene.sky.shape)


def _star_rates(instrument: Instrument, planet: Planet) -> np.ndarray:
    """Electrons/s of the star: (1,) for FGS1, (column,) for AIRS."""
    temperature, magnitude = planet.catalogue.Ts, planet.magnitude
    if instrument is FGS1:
        return np.array([star.fgs1_rate(temperature, magnitude)])
    return star.airs_rates(airs_wavelengths(), temperature, magnitude)


def _sky_image(instrument: Instrument, level: float) -> np.ndarray:
    """Background (row, column), electrons/s: flat on FGS1, 1.5 times brighter at the red end of AIRS than at its blue end."""
    slope = np.linspace(1.2, 0.8, instrument.columns) if instrument.crop else np.ones(instrument.columns)
    return SKY_RATE[instrument.name] * level * np.tile(slope, (instrument.rows, 1))


def _brightness(instrument: Instrument, planet: Planet, visit: int, time: np.ndarray, disc: Disc | None) -> np.ndarray:
    """Transit times drift: (time, 1) for FGS1, (time, column) for AIRS. disc: of the star; None: the planet's limb darkening alone."""
    chosen = np.array([0]) if instrument.crop is None else _wavelength_of_column()
    unique, column = np.unique(chosen, return_inverse=True)
    transit = light_curve.transit(
        time,
        instrument.ramp_time / 3600,
        planet.orbit,
        planet.mid_transits[visit],
        planet.depth[unique],
        planet.limb_darkening[unique] if disc is None or disc.limb_darkening is None else disc.limb_darkening.at(unique),
    )
    if disc is not None:
        transit = 1 + disc.depth_factor[unique] * (transit - 1)
    drift = planet.drifts[visit]
    tau = 2 * (time - time[0]) / max(time[-1] - time[0], instrument.sample_time / 3600) - 1
    if instrument.crop is None:
        return transit * light_curve.fgs1_drift(drift, tau)
    return transit[:, column] * light_curve.airs_drift(drift, tau, np.linspace(1, -1, instrument.columns))


def _in_columns(instrument: Instrument, factor: np.ndarray) -> np.ndarray:
    """Values at an instrument's wavelengths (time, wavelength), in its columns (time, 1 | column)."""
    return factor if instrument.crop is None else factor[:, _wavelength_of_column() - 1]


def _wavelength_of_column() -> np.ndarray:
    """Index in the spectrum (FGS1 first) of every AIRS column, (column,); columns outside the crop take the nearest wavelength."""
    first, last = AIRS.crop
    return last - np.clip(np.arange(AIRS.columns), first, last - 1)
