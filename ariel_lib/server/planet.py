"""One planet of a submission: what lies about it on disk, one row of each file; nothing is computed that was not kept.

Each part is read for itself: one that is missing or damaged is named, and keeps no other from being shown.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ariel_lib.io.layout import is_plain_name, light_curves_path
from ariel_lib.server.reading import (
    BROKEN,
    Arrays,
    Kept,
    NotServed,
    Rows,
    Unreadable,
    clean,
    numbers,
    open_arrays,
    read_json,
    read_lines,
    said,
)
from ariel_lib.server.runs import Found, Library, in_order, number
from ariel_lib.server.schemas import Band, Edge, LightCurves, Planet, PlanetDetail, Planets, Segment, Violation

OTHERS = {"memory": ("initial_mean", "initial_sigma"), "posterior": ("gaussian_mean", "gaussian_sigma"),
          "transit fit": ("depth", "depth_sigma")}  # fmt: skip
POINTS = 500  # of a light curve, at most
EDGES = 12
VISITS = 10
RULES_LIMIT = 2**20  # bytes about one planet


class Observatory:
    """Planets of the submissions in a library; tables are indexed once and kept while they do not change."""

    def __init__(self, library: Library):
        self.library, self.folders = library, library.folders
        self._rows, self._stars = Kept(Rows, 12), Kept(Rows, 12)
        self._figures, self._errors = Kept(self._summarise, 6), Kept(self._compare, 6)
        self._violations, self._record = Kept(index_violations, 6), Kept(read_json, 6)

    # The list

    def listed(self, run: str, q: str, sort: str, order: str, offset: int, limit: int) -> Planets:
        found, problems = self._submission(run), []
        figures = self._figures(found.submission)
        truth = self._table(found, f"{found.split}.csv")
        errors = self._try(lambda: self._errors(found.submission, truth), problems) if truth else {}
        record = self._try(lambda: self._facts(found), problems) or {}
        path = self.library.beside(found, "violations.jsonl", "check")
        violations = self._try(lambda: self._violations(path), problems) if path else None
        flags, fallbacks = record.get("flags") or {}, record.get("fallbacks") or {}
        planets = [
            Planet(
                planet=said(planet), depth_ppm=number(depth), sigma_ppm=number(sigma), error_ppm=(errors or {}).get(planet),
                flags=[said(flag, 60) for flag in flags.get(planet) or ()], answered=planet not in fallbacks,
                violations=None if violations is None else violations[planet][2] - 1 if planet in violations else 0,
            )
            for planet, depth, sigma in figures if q.casefold() in planet.casefold() or any(q in str(f) for f in flags.get(planet) or ())
        ]  # fmt: skip
        planets = in_order(planets, lambda p: len(p.flags) if sort == "flags" else getattr(p, sort), order)
        return Planets(total=len(planets), planets=planets[offset : offset + limit], problems=problems)

    def _submission(self, run: str) -> Found:
        found = self.library.find(run)
        if found.submission is None:
            raise NotServed("this run has no submission")
        return found

    def _summarise(self, path: Path) -> list[tuple[str, float | None, float | None]]:
        """Planet, mean depth and median sigma in ppm."""
        rows, found = self._rows(path), []
        for planet in rows.places:
            mean, sigma = np.split(rows.numbers(planet), 2)
            found.append((planet, *numbers(1e6 * np.array([mean.mean(), np.median(sigma)]))))
        return found

    def _compare(self, submission: Path, truth: Path) -> dict[str, float | None]:
        """planet → mean absolute error in ppm."""
        rows, known = self._rows(submission), self._rows(truth)
        shared = [planet for planet in rows.places if planet in known.places]
        return {p: numbers(1e6 * np.abs(np.split(rows.numbers(p), 2)[0] - known.numbers(p)).mean())[0] for p in shared}

    # What lies where

    def _data(self, found: Found) -> Path | None:
        return self.folders.folder(found.links["data"]) if "data" in found.links else None

    def _table(self, found: Found, name: str) -> Path | None:
        data = self._data(found)
        return data and self.folders.inside(data / name)

    def _truth(self, found: Found) -> Rows | None:
        path = self._table(found, f"{found.split}.csv")
        return self._rows(path) if path else None

    def _facts(self, found: Found) -> dict:
        path = self.folders.inside(found.submission.with_suffix(".json"))
        return self._record(path) if path else {}

    def _try(self, read: Callable, problems: list[str]):
        try:
            return read()
        except Unreadable as error:
            problems.append(str(error))
        except BROKEN as error:
            problems.append(f"not as this program writes it: {type(error).__name__}: {said(error, 300)}")
        return None

    # One planet

    def planet(self, run: str, planet: str) -> PlanetDetail:
        found = self._submission(run)
        values = self._rows(found.submission).numbers(planet)
        if values is None:
            raise NotServed("no such planet in this submission")
        mean, sigma = np.split(values, 2)
        detail = PlanetDetail(planet=said(planet), split=found.split, wavelength=None, mean=numbers(mean), sigma=numbers(sigma))
        parts = (self._fill_data, self._fill_record, self._fill_others, self._fill_fit, self._fill_explanation, self._fill_violations,
                 self._fill_intervals)  # fmt: skip
        for part in parts:
            self._try(lambda part=part: part(detail, found, planet, len(mean)), detail.problems)
        return detail

    def _fill_data(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        if self._data(found) is None:
            where = said(found.links.get("data"))
            detail.missing["data set"] = f"{where} is not served, nor its truth, wavelengths and light curves: give --data {where}"
            return
        path = self._table(found, "wavelengths.csv")
        if path:
            cells = [line for _, line in read_lines(path)][1].decode().strip().split(",")
            detail.wavelength = numbers(np.array(cells, float)) if len(cells) == size else None
        truth = self._truth(found)
        row = truth.numbers(planet) if truth else None
        if row is not None and len(row) == size:
            detail.truth = numbers(row)
        else:
            detail.missing["truth"] = f"no row of this planet in {found.split}.csv of the data set"
        stars = self._table(found, f"{found.split}_star_info.csv")
        if stars:
            table = self._stars(stars)
            detail.star = dict(zip(map(said, table.columns[1:]), map(said, table.row(planet) or ())))

    def _fill_record(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        facts = self._facts(found)
        detail.flags = [said(flag, 60) for flag in (facts.get("flags") or {}).get(planet) or ()]
        fallback, note = (facts.get("fallbacks") or {}).get(planet), (facts.get("notes") or {}).get(planet)
        detail.note = "; ".join(filter(None, [fallback and f"takes the training mean: {said(fallback)}", note and said(note)]))

    def _fill_others(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        path = self.folders.inside(found.submission.with_suffix(".safetensors"))
        if path is None:
            return
        with open_arrays(path) as arrays:
            row = row_of(arrays, planet)
            for name, both in OTHERS.items():
                if row is not None and set(both) <= arrays.names:
                    detail.others[name] = [of_length(arrays.row(array, row), size) for array in both]

    def _fill_fit(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        kept = found.submission.parent / "estimates" / found.split / f"{planet}.safetensors"
        path = self.folders.inside(kept) if is_plain_name(planet) else None
        if path is None:
            detail.missing["transit fit"] = f"none kept under estimates/{found.split} beside the submission"
            return
        with open_arrays(path) as arrays:
            for n, about in enumerate(json.loads(arrays.text["white"])[:VISITS]):
                time, flux, fit = (thinned(arrays.read(f"white.{n}.{name}")) for name in ("time", "flux", "transit_model"))
                name = f"{said(about.get('instrument'), 20)}, visit {said(about.get('visit'), 5)}"
                facts = {k: number(about.get(k)) for k in ("t0", "duration", "chi2", "red_noise", "red_noise_probability")}
                detail.fit.append(Segment(name=name, time=time, flux=flux, fit=fit, sigma=number(about.get("sigma")), facts=facts))

    def _fill_explanation(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        path = self.library.beside(found, "explanation.safetensors", "diagnose")
        if path is None:
            detail.missing["explanation"] = "none: `spectramind diagnose dashboard` makes it"
            return
        with open_arrays(path) as arrays:
            row = row_of(arrays, planet)
            if row is None:
                detail.missing["explanation"] = "it has no row of this planet"
                return
            gates = arrays.row("gates", row)
            experts = names_of(arrays, "experts", gates.shape[1])
            detail.gates = {name: of_length(gates[:, n], size) for n, name in enumerate(experts)}
            if row >= arrays.shape("shap")[0]:
                detail.missing["attributions"] = "computed for the first planets only: `diagnose dashboard --explained N`"
                return
            shap, ig, correction, error = (arrays.row(name, row) for name in ("shap", "ig", "correction", "ig_error"))
            detail.attributions = [
                Band(name=f"band {n + 1} of {len(shap)}", shap=of_length(shap[n], size), ig=of_length(ig[n], size),
                     correction=number(float(correction[n])), error=number(float(error[n])))
                for n in range(len(shap))
            ]  # fmt: skip
            if "edge_share" in arrays.names:
                detail.relations, detail.edges = read_edges(arrays, row, size)

    def _fill_violations(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        path = self.library.beside(found, "violations.jsonl", "check")
        if path is None:
            detail.missing["violations"] = "not judged: `spectramind check` does it"
            return
        place, length, _ = self._violations(path).get(planet, (0, 0, 0))
        if length > RULES_LIMIT:
            raise Unreadable(f"{path.name}: {length} bytes about this planet, more than are read")
        with path.open("rb") as file:
            file.seek(place)
            lines = file.read(length).splitlines()
        for line in (clean(json.loads(line)) for line in lines):
            if "rule" in line:
                facts = {name: number(line.get(name)) for name in ("wavelength", "ppm", "sigmas")}
                detail.violations.append(Violation(rule=said(line["rule"], 40), bin=int(line["bin"]), **facts))
            else:
                detail.violated = [said(name, 40) for name in line.get("violated") or ()]
                detail.molecules = {said(name, 20): number(share) for name, share in (line.get("molecules") or {}).items()}

    def _fill_intervals(self, detail: PlanetDetail, found: Found, planet: str, size: int) -> None:
        weights = found.links.get("weights") and self.folders.inside(found.links["weights"])
        for other in self.library.all().values():
            link = other.links.get("weights")
            path = self.folders.inside(other.path.parent / "intervals.csv") if other.run.command == "corel-train" else None
            if not (path and weights and link is not None and self.folders.inside(link) == weights):
                continue
            table = self._rows(path)
            row = table.numbers(planet)
            for promise in ("marginal", "joint") if row is not None else ():
                names = list(enumerate(table.columns[1:]))
                sides = [[n for n, name in names if name.startswith(f"{promise}_{side}_")] for side in ("lower", "upper")]
                detail.intervals[f"COREL, {promise}"] = [of_length(row[side], size) for side in sides]

    # Light curves

    def light_curves(self, run: str, planet: str) -> LightCurves:
        """White light of each visit as calibration left it."""
        found, problems, segments = self._submission(run), [], []
        if planet not in self._rows(found.submission).places:
            raise NotServed("no such planet in this submission")
        data = self._data(found)
        folders = [folder / "lightcurves" for folder in (data, found.submission.parent) if folder]
        for visit in range(VISITS) if is_plain_name(planet) else ():
            paths = (self.folders.inside(light_curves_path(folder, found.split, planet, visit)) for folder in folders)
            path = next(filter(None, paths), None)
            if path is not None:
                segments += self._try(lambda path=path, visit=visit: read_white_light(path, visit), problems) or []
        if not segments and not problems:
            problems.append("no light curves of this planet in a served folder: `calibrate` writes them, --data serves a data set")
        return LightCurves(segments=segments, problems=problems)


def index_violations(path: Path) -> dict[str, tuple[int, int, int]]:
    """planet → where its lines, which stand together, begin, their length in bytes and their number."""
    places: dict[str, tuple[int, int, int]] = {}
    for place, line in read_lines(path):
        planet = str(json.loads(line)["planet"])
        start, length, lines = places.get(planet, (place, 0, 0))
        if start + length != place:
            raise Unreadable(f"{path.name}: lines of planet {said(planet, 60)} do not stand together")
        places[planet] = start, length + len(line), lines + 1
    return places


def row_of(arrays: Arrays, planet: str) -> int | None:
    ids = json.loads(arrays.text["planet_ids"])
    return ids.index(planet) if planet in ids else None


def names_of(arrays: Arrays, name: str, size: int) -> list[str]:
    found = json.loads(arrays.text.get(name, "[]"))
    return [said(word, 40) for word in found] if len(found) == size else [str(n + 1) for n in range(size)]


def of_length(values: np.ndarray, size: int) -> list[float | None]:
    if values.size != size:
        raise Unreadable(f"an array with {values.size} values where the spectrum has {size}")
    return numbers(values)


def read_edges(arrays: Arrays, row: int, size: int) -> tuple[dict[str, list], list[Edge]]:
    """Each relation's share at every wavelength, and the strongest edges; both the mean over layers."""
    share, (source, target), kind = arrays.row("edge_share", row).mean(axis=0), arrays.read("edge_index"), arrays.read("edge_type")
    attention = arrays.row("attention", row).mean(axis=0) if "attention" in arrays.names else None
    relations = names_of(arrays, "relations", int(kind.max()) + 1)
    if min(source.min(), target.min(), kind.min()) < 0 or max(source.max(), target.max()) >= size:
        raise Unreadable("edges between wavelengths that the spectrum does not have")
    shares = {name: numbers(np.bincount(target[kind == n], share[kind == n], size)) for n, name in enumerate(relations)}
    strongest = np.argsort(-share)[:EDGES]
    return shares, [
        Edge(source=int(source[n]), target=int(target[n]), relation=relations[kind[n]], share=number(float(share[n])),
             attention=None if attention is None else number(float(attention[n])))
        for n in strongest
    ]  # fmt: skip


def read_white_light(path: Path, visit: int) -> list[Segment]:
    """Both instruments, summed over wavelengths (a masked sample takes its wavelength's mean), relative to the median."""
    found = []
    with open_arrays(path) as arrays:
        for key in ("fgs1", "airs"):
            time, flux, mask = (arrays.read(f"{key}.{name}") for name in ("time", "flux", "mask"))
            flux, mask = (x.reshape(len(time), -1) for x in (flux, mask.astype(bool)))
            good = ~mask
            lit = good.any(axis=0)
            if not lit.any():
                continue
            mean = np.where(good, flux, 0.0).sum(axis=0)[lit] / good.sum(axis=0)[lit]
            white = np.where(good[:, lit], flux[:, lit], mean).sum(axis=1, dtype=np.float64)
            level = float(np.median(white))
            name = f"{'FGS1' if key == 'fgs1' else 'AIRS'}, visit {visit}"
            facts = {"electrons a sample": number(level), "masked": number(float(mask.mean()))}
            found.append(Segment(name=name, time=thinned(time), flux=thinned(white / level), facts=facts))
    return found


def thinned(values: np.ndarray) -> list[float | None]:
    """Means over equal stretches, at most POINTS of them; a rest at the end is left out."""
    if values.ndim != 1:
        raise Unreadable(f"a light curve with {values.ndim} axes, expected one")
    width = -(-len(values) // POINTS)
    n = len(values) // max(width, 1)
    return numbers(values[: n * width].reshape(n, width).mean(axis=1)) if n else []
