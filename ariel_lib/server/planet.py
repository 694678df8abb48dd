"""The planets of a submission: the list, and the page of one planet, from files that commands wrote. Only means and sums of the
values in these files are computed.

Each part of a page is read separately: a missing or damaged one is named on the page, and the others are shown.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from ariel_lib.io.dataset import LIGHT_CURVES, Dataset
from ariel_lib.io.layout import is_plain_name, light_curves_path
from ariel_lib.server.explanation import add_explanation
from ariel_lib.server.light_curves import VISITS_LIMIT, read_fitted_curves, read_white_curves
from ariel_lib.server.reading import (
    FORMAT_ERRORS,
    FileCache,
    NotFound,
    PlanetTable,
    UnreadableFile,
    of_length,
    open_arrays,
    read_json,
    read_lines,
)
from ariel_lib.server.runs import RunFiles, RunIndex
from ariel_lib.server.schemas import LightCurves, Planet, PlanetDetail, Planets
from ariel_lib.server.values import as_series, as_text, sort_by
from ariel_lib.server.violations import add_violations, index_violations

T = TypeVar("T")
OTHER_ANSWERS = {  # name on the page → arrays of the file beside the submission, as prediction.predict writes them
    "initial estimate": ("initial_mean", "initial_sigma"),
    "Gaussian posterior": ("gaussian_mean", "gaussian_sigma"),
    "transit fit": ("depth", "depth_sigma"),
}
logger = logging.getLogger(__name__)


class PlanetPages:
    """The planets of every submission in an index of runs."""

    def __init__(self, runs: RunIndex):
        self.runs, self.folders = runs, runs.folders
        self._table, self._stars = FileCache(PlanetTable, 12), FileCache(PlanetTable, 12)
        self._depths, self._errors = FileCache(self._mean_depths, 6), FileCache(self._mean_errors, 6)
        self._violations, self._record = FileCache(index_violations, 6), FileCache(read_json, 6)

    # Where the files of a submission lie

    def _submission(self, run: str) -> RunFiles:
        found = self.runs.find(run)
        if found.submission is None:
            raise NotFound("this run has no submission")
        return found

    def _dataset(self, found: RunFiles) -> Dataset | None:
        """The data set of a submission, with what `predict` keeps beside it; None where its folder is not served.

        Only its paths are used: its readers have no limits of size and follow links out of the served folders.
        """
        root = self.folders.folder(found.inputs["data"]) if "data" in found.inputs else None
        return Dataset(root, found.split, scratch=found.submission.parent) if root else None

    def _dataset_file(self, found: RunFiles, name: str) -> Path | None:
        dataset = self._dataset(found)
        return self.folders.file(dataset.root / name) if dataset else None

    def _light_curve_files(self, found: RunFiles, planet: str) -> list[tuple[int, Path]]:
        """(visit, light-curve file) of a planet: from the data set's folder, or from beside the submission if `predict` calibrated them."""
        if not is_plain_name(planet):
            return []
        dataset = self._dataset(found)
        folder = dataset.light_curve_folder if dataset else found.submission.parent / LIGHT_CURVES
        paths = [self.folders.file(light_curves_path(folder, found.split, planet, visit)) for visit in range(VISITS_LIMIT)]
        return [(visit, path) for visit, path in enumerate(paths) if path is not None]

    def _facts(self, found: RunFiles) -> dict:
        """The JSON record beside a submission: flags, notes and fallbacks by planet, what was skipped; empty where there is none."""
        path = self.folders.file(found.submission.with_suffix(".json"))
        return self._record(path) if path else {}

    # The list

    def list_planets(self, run: str, q: str, sort: str, order: str, offset: int, limit: int) -> Planets:
        """Planets whose id or flags contain q, sorted by a field of Planet. Raises NotFound for a run without submission."""
        found, problems = self._submission(run), []
        depths, labels = self._depths(found.submission), self._dataset_file(found, f"{found.split}.csv")
        errors = (attempt(lambda: self._errors(found.submission, labels), problems) if labels else None) or {}
        facts = attempt(lambda: self._facts(found), problems) or {}
        path = self.runs.find_beside(found, "violations.jsonl", "check")
        violations = attempt(lambda: self._violations(path), problems) if path else None
        flags, fallbacks = facts.get("flags") or {}, facts.get("fallbacks") or {}
        planets = [
            Planet(
                planet=as_text(planet), depth_ppm=depth, sigma_ppm=sigma, error_ppm=errors.get(planet),
                flags=[as_text(flag, 60) for flag in flags.get(planet) or ()], answered=planet not in fallbacks,
                violations=None if violations is None else violations[planet].violations if planet in violations else 0,
            )
            for planet, depth, sigma in depths if q.casefold() in planet.casefold() or any(q in str(f) for f in flags.get(planet) or ())
        ]  # fmt: skip
        planets = sort_by(planets, lambda p: len(p.flags) if sort == "flags" else getattr(p, sort), order)
        skipped = {as_text(what, 60): as_text(why) for what, why in (facts.get("skipped") or {}).items()}
        return Planets(total=len(planets), planets=planets[offset : offset + limit], skipped=skipped, problems=problems)

    def _mean_depths(self, submission: Path) -> list[tuple[str, float | None, float | None]]:
        """Planet, mean depth and median sigma over wavelengths, ppm."""
        table, found = self._table(submission), []
        for planet in table.planets:
            mean, sigma = np.split(table.numbers(planet), 2)
            found.append((planet, *as_series(1e6 * np.array([mean.mean(), np.median(sigma)]))))
        return found

    def _mean_errors(self, submission: Path, labels: Path) -> dict[str, float | None]:
        """Planet → mean absolute error over wavelengths, ppm, for planets with a true spectrum."""
        table, truth = self._table(submission), self._table(labels)
        shared = [planet for planet in table.planets if planet in truth]
        return {p: as_series(1e6 * np.abs(np.split(table.numbers(p), 2)[0] - truth.numbers(p)).mean())[0] for p in shared}

    # One planet

    def planet(self, run: str, planet: str) -> PlanetDetail:
        """All that is shown of one planet. Raises NotFound for a run without submission and a planet that is not in it."""
        found = self._submission(run)
        values = self._table(found.submission).numbers(planet)
        if values is None:
            raise NotFound("no such planet in this submission")
        mean, sigma = np.split(values, 2)
        detail = PlanetDetail(planet=as_text(planet), split=found.split, wavelength=None, mean=as_series(mean), sigma=as_series(sigma))
        parts = (
            self._add_wavelengths, self._add_truth, self._add_star, self._add_facts, self._add_other_answers, self._add_fit,
            self._add_explanation, self._add_violations, self._add_intervals,
        )  # fmt: skip
        if self._dataset(found) is None:
            where = as_text(found.inputs.get("data"))
            detail.missing["data set"] = (
                f"{where} is not served, so wavelengths, true spectra, stars and its light curves are not shown: start with --data {where}"
            )
        for part in parts:
            attempt(lambda part=part: part(detail, found, planet), detail.problems)
        return detail

    def _add_wavelengths(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self._dataset_file(found, "wavelengths.csv")
        if path:
            cells = [line for _, line in read_lines(path)][1].decode().strip().split(",")
            detail.wavelength = of_length(np.array(cells, float), len(detail.mean))

    def _add_truth(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self._dataset_file(found, f"{found.split}.csv")
        row = self._table(path).numbers(planet) if path else None
        if row is not None:
            detail.truth = of_length(row, len(detail.mean))
        elif self._dataset(found):
            detail.missing["truth"] = f"{found.split}.csv of the data set has no row for this planet"

    def _add_star(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self._dataset_file(found, f"{found.split}_star_info.csv")
        if path:
            table = self._stars(path)
            if planet not in table:
                detail.missing["star"] = f"{path.name} of the data set has no row for this planet"
            detail.star = dict(zip(map(as_text, table.columns[1:]), map(as_text, table.cells(planet) or ())))

    def _add_facts(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        facts = self._facts(found)
        detail.flags = [as_text(flag, 60) for flag in (facts.get("flags") or {}).get(planet) or ()]
        fallback, note = (facts.get("fallbacks") or {}).get(planet), (facts.get("notes") or {}).get(planet)
        notes = [fallback and f"not fitted, the mean of the training spectra is given instead: {as_text(fallback)}", note and as_text(note)]
        detail.note = "; ".join(filter(None, notes))

    def _add_other_answers(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self.folders.file(found.submission.with_suffix(".safetensors"))
        if path is None:
            return
        with open_arrays(path) as arrays:
            row = arrays.row_of(planet)
            for name, pair in OTHER_ANSWERS.items():
                if row is not None and set(pair) <= arrays.names:
                    detail.other_answers[name] = [of_length(arrays.row(array, row), len(detail.mean)) for array in pair]

    def _add_fit(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        fit = found.submission.parent / "estimates" / found.split / f"{planet}.safetensors"
        path = self.folders.file(fit) if is_plain_name(planet) else None
        if path is None:
            detail.missing["transit fit"] = f"no file of this planet under estimates/{found.split} beside the submission"
        else:
            detail.fitted_curves = read_fitted_curves(path)

    def _add_explanation(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self.runs.find_beside(found, "explanation.safetensors", "diagnose")
        if path is None:
            detail.missing["explanation"] = "not computed: `spectramind diagnose dashboard` does it"
        else:
            add_explanation(detail, path, planet)

    def _add_violations(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        path = self.runs.find_beside(found, "violations.jsonl", "check")
        if path is None:
            detail.missing["violations"] = "not checked: `spectramind check` does it"
        elif planet in (places := self._violations(path)):
            add_violations(detail, path, places[planet])

    def _add_intervals(self, detail: PlanetDetail, found: RunFiles, planet: str) -> None:
        """COREL's intervals, from runs of corel-train on the weights that made the submission."""
        weights = found.inputs.get("weights") and self.folders.file(found.inputs["weights"])
        for other in self.runs.all().values():
            given = other.inputs.get("weights")
            path = self.folders.file(other.path.parent / "intervals.csv") if other.run.command == "corel-train" else None
            if not (path and weights and given is not None and self.folders.file(given) == weights):
                continue
            table = self._table(path)
            row = table.numbers(planet)
            for coverage in ("marginal", "joint") if row is not None else ():
                names = list(enumerate(table.columns[1:]))
                sides = [[n for n, name in names if name.startswith(f"{coverage}_{side}_")] for side in ("lower", "upper")]
                detail.intervals[f"COREL, {coverage} coverage"] = [of_length(row[side], len(detail.mean)) for side in sides]

    def light_curves(self, run: str, planet: str) -> LightCurves:
        """Calibrated white light of each visit. Raises NotFound for a run without submission and a planet that is not in it."""
        found, problems, curves = self._submission(run), [], []
        if planet not in self._table(found.submission):
            raise NotFound("no such planet in this submission")
        for visit, path in self._light_curve_files(found, planet):
            curves += attempt(lambda path=path, visit=visit: read_white_curves(path, visit), problems) or []
        if not curves and not problems:
            problems.append("no light curves of this planet in a served folder: `calibrate` writes them; --data serves a data set")
        return LightCurves(curves=curves, problems=problems)


def attempt(read: Callable[[], T], problems: list[str]) -> T | None:
    """Result of read(); for a file that cannot be read None, and the reason is added to problems."""
    try:
        return read()
    except UnreadableFile as error:
        problems.append(str(error))
    except FORMAT_ERRORS as error:
        logger.warning("a part of a page is left out", exc_info=True)  # with its traceback, since a defect of this code is caught here too
        problems.append(f"a file has another format than this version writes: {type(error).__name__}: {as_text(error, 300)}")
    return None
