"""Calibrated light curves: the output of calibration and the input of the transit fit, one safetensors file a visit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from ariel_lib.io.storage import StorageError, load_metadata, load_shapes, parse_arrays, save_arrays

INSTRUMENT_KEYS = ("fgs1", "airs")


@dataclass(frozen=True)
class LightCurve:
    """Light curves of one instrument in one visit. AIRS wavelengths ascend (wl_2 … wl_283); FGS1 has no wavelength axis.

    time              (time,)                 h, middle of the exposure, float64
    flux              (time[, wavelength])    electrons a sample, background subtracted
    variance_poisson  (time[, wavelength])    electrons²
    variance_read     (time[, wavelength])    electrons²
    centroid          (time, 2)               pixels: along rows, along columns, relative to the visit's mean
    background        (time,)                 electrons a pixel and sample
    mask              (time[, wavelength])    True where the sample is unusable

    >>> from ariel_lib import Dataset, calibrate
    >>> dataset = Dataset(folder, split="test")
    >>> curve = calibrate(dataset, dataset.planets[0])[0].airs
    >>> curve.variance.shape == curve.flux.shape == (len(curve.time), 282)
    True
    """

    time: np.ndarray
    flux: np.ndarray
    variance_poisson: np.ndarray
    variance_read: np.ndarray
    centroid: np.ndarray
    background: np.ndarray
    mask: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Sum of Poisson and read variance, (time[, wavelength]), electrons²."""
        return self.variance_poisson + self.variance_read


@dataclass(frozen=True)
class LightCurves:
    """Both instruments in one visit of one planet.

    provenance  of calibrated frames: `inputs`, digest of their content; `fingerprint`, of inputs, settings and version; `version`

    >>> from ariel_lib import Dataset, calibrate
    >>> dataset = Dataset(folder, split="test")
    >>> curves = calibrate(dataset, dataset.planets[0])[0]
    >>> curves.visit, curves.fgs1.flux.ndim, curves.airs.flux.ndim
    (0, 1, 2)
    """

    planet_id: str
    visit: int
    fgs1: LightCurve
    airs: LightCurve
    provenance: dict[str, str] = field(default_factory=dict)


def save_light_curves(path: Path | str, curves: LightCurves) -> None:
    """Write one visit, atomically."""
    arrays = {
        f"{name}.{f.name}": getattr(getattr(curves, name), f.name) for name in INSTRUMENT_KEYS for f in fields(LightCurve)
    }
    provenance = json.dumps(curves.provenance, sort_keys=True)
    save_arrays(path, arrays, {"planet_id": curves.planet_id, "visit": str(curves.visit), "provenance": provenance})


def find_damage(path: Path | str) -> str | None:
    """What is wrong with the file of a visit, judged by its header; None for a whole file."""
    try:
        shapes, metadata = load_shapes(path)
    except StorageError as error:
        return str(error)
    return _fault(path, shapes, metadata)


def _fault(path: Path | str, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> str | None:
    """What is missing or inconsistent in a file with arrays of these shapes; None for a whole file."""
    missing = [name for name in ("planet_id", "visit", "provenance") if name not in metadata]
    for key in INSTRUMENT_KEYS:
        names = {f.name: f"{key}.{f.name}" for f in fields(LightCurve)}
        missing += [name for name in names.values() if name not in shapes]
        found = {field: shapes[name] for field, name in names.items() if name in shapes}
        if not missing and _inconsistent(found):
            return f"{path}: expected arrays of one length in {key}, found shapes {found}. Calibrate this planet again."
    if missing:
        return f"{path}: expected light curves of one visit, found no {missing[0]}. Calibrate this planet again."
    return None


def _inconsistent(shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether the shapes of one instrument's arrays differ from those that LightCurve states."""
    time, flux = shapes["time"], shapes["flux"]
    same = all(shapes[name] == flux for name in ("variance_poisson", "variance_read", "mask"))
    return not (same and len(time) == 1 and flux[:1] == time == shapes["background"] and shapes["centroid"] == (*time, 2))


def load_light_curves(path: Path | str) -> LightCurves:
    """Read one visit, with the dtypes it was saved with. Raises StorageError for a damaged file."""
    if wrong := find_damage(path):
        raise StorageError(wrong)
    return parse_light_curves(Path(path).read_bytes(), path)


def parse_light_curves(content: bytes, path: Path | str) -> LightCurves:
    """load_light_curves of the content of a file. path: for the message."""
    arrays, metadata = parse_arrays(content, path)
    if wrong := _fault(path, {name: array.shape for name, array in arrays.items()}, metadata):
        raise StorageError(wrong)
    curves = {name: LightCurve(**{f.name: arrays[f"{name}.{f.name}"] for f in fields(LightCurve)}) for name in INSTRUMENT_KEYS}
    return LightCurves(metadata["planet_id"], int(metadata["visit"]), **curves, provenance=json.loads(metadata["provenance"]))


def load_provenance(path: Path | str) -> dict[str, str]:
    """The provenance of a saved visit, without reading its arrays; empty for a file of another kind."""
    return json.loads(load_metadata(path).get("provenance", "{}"))
