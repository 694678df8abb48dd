"""The light curves of all visits of one planet, from the disk or from the detector frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, overload

import numpy as np

from ariel_lib.calibration.fused import calibrate_visit
from ariel_lib.calibration.pipeline import CalibrationSettings
from ariel_lib.calibration.visits import read_inputs
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.light_curves import LightCurves, load_light_curves
from ariel_lib.io.storage import StorageError
from ariel_lib.transit.segments import make_segments, merge_channels

if TYPE_CHECKING:
    from ariel_lib.plots.figures import Figure


@dataclass(frozen=True, repr=False, eq=False)
class PlanetLightCurves(Sequence[LightCurves]):
    """The visits of one planet, a sequence of `LightCurves`, as `calibrate` returns them.

    planet_id
    visits         in order
    wavelength_um  (wavelength,) micron, FGS1 first: those of the spectrum

    >>> from ariel_lib import Dataset, calibrate
    >>> dataset = Dataset(folder, split="test")
    >>> curves = calibrate(dataset, dataset.planets[0])
    >>> len(curves) == len(curves.visits), curves[0].airs.flux.shape == (len(curves[0].airs.time), 282)
    (True, True)
    >>> figure = curves.plot()
    """

    planet_id: str
    visits: tuple[LightCurves, ...]
    wavelength_um: np.ndarray

    @overload
    def __getitem__(self, index: int) -> LightCurves: ...
    @overload
    def __getitem__(self, index: slice) -> "PlanetLightCurves": ...
    def __getitem__(self, index: int | slice) -> "LightCurves | PlanetLightCurves":
        if isinstance(index, slice):
            return PlanetLightCurves(self.planet_id, self.visits[index], self.wavelength_um)
        return self.visits[index]

    def __len__(self) -> int:
        return len(self.visits)

    def __iter__(self) -> Iterator[LightCurves]:
        return iter(self.visits)

    def __repr__(self) -> str:
        lengths = ", ".join(f"{len(v.fgs1.time)} FGS1 and {len(v.airs.time)} AIRS samples" for v in self.visits)
        return f"PlanetLightCurves(planet {self.planet_id}, {len(self)} visit{'s' * (len(self) != 1)}: {lengths})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{v.visit}</td><td>{len(v.fgs1.time)}</td><td>{len(v.airs.time)}</td>"
            f"<td>{v.airs.time[-1] - v.airs.time[0]:.2f}</td></tr>"
            for v in self.visits
        )
        head = "<tr><th>visit</th><th>FGS1 samples</th><th>AIRS samples</th><th>hours</th></tr>"
        return f"<p>Light curves of planet {escape(self.planet_id)}</p><table>{head}{rows}</table>"

    def plot(self) -> "Figure":
        """White light relative to its median, a column for each instrument and visit."""
        from ariel_lib.plots.figures import draw_transits

        white = [merge_channels(segment, 1) for segment in make_segments(list(self.visits), self.wavelength_um)]
        return draw_transits({f"{s.instrument}, visit {s.visit}": (s.time, np.where(s.weight > 0, s.flux, np.nan)[0], None) for s in white})


def calibrate(dataset: Dataset, planet: str, *, settings: CalibrationSettings | None = None) -> PlanetLightCurves:
    """The light curves of every visit of a planet.

    Light curves in the folder that was named, or beside the data, are read. Those in the scratch folder are read where they were made
    from these frames with these settings. Visits without any are calibrated from their frames, in memory: nothing is written.

    dataset   as `Dataset` opens it
    planet    one of dataset.planets, or of dataset.on_disk
    settings  of the calibration from frames; default: those of `spectramind calibrate`
    Raises ArchiveError for a planet that is not there or frames that are malformed, StorageError for damaged light curves and for
    those that `spectramind calibrate` made from other frames than the data set now has.

    >>> from ariel_lib import Dataset, calibrate
    >>> dataset = Dataset(folder, split="test")
    >>> curves = calibrate(dataset, dataset.planets[0])
    >>> curves[0].fgs1.flux.shape == curves[0].fgs1.time.shape
    True
    """
    settings, archive, split = settings or CalibrationSettings(), dataset.archive, dataset.split
    frames = archive.visits(split, planet) if planet in archive.planets(split) else ()
    if dataset.is_calibrated_on_demand and frames:
        kept = {visit: _kept(dataset, planet, visit, settings) for visit in frames}
        found = {visit: curves for visit, curves in kept.items() if curves is not None}
        wanted = frames
    else:
        found = {curves.visit: curves for curves in dataset.light_curves(planet)}
        wanted = tuple(found) or archive.visits(split, planet)
        for visit in set(found) & set(frames):
            _require_same_frames(dataset, planet, found[visit])
    for visit in set(wanted) - set(found):
        found[visit] = calibrate_visit(archive, split, planet, visit, settings)
    return PlanetLightCurves(planet, tuple(found[visit] for visit in sorted(found)), dataset.wavelengths)


def _kept(dataset: Dataset, planet: str, visit: int, settings: CalibrationSettings) -> LightCurves | None:
    """Stored light curves of the visit's frames and these settings; None where there are none."""
    path = dataset.light_curve_path(planet, visit)
    if not path.is_file():
        return None
    curves = load_light_curves(path)
    wanted = read_inputs(dataset.archive, dataset.split, planet, visit, settings).fingerprint
    return curves if curves.provenance.get("fingerprint") == wanted else None


def _require_same_frames(dataset: Dataset, planet: str, curves: LightCurves) -> None:
    """Raise StorageError for calibrated light curves of other frames than those of the data set."""
    stated = curves.provenance.get("inputs")
    if stated and stated != read_inputs(dataset.archive, dataset.split, planet, curves.visit, CalibrationSettings()).inputs:
        raise StorageError(
            f"{dataset.light_curve_path(planet, curves.visit)}: expected light curves of the frames under {dataset.root}, found those "
            "of others. Run spectramind calibrate again."
        )
