"""The physics rules applied to a submission, planet by planet, with a search for bumps in the light curves.

Independent of true spectra and network.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.execution.workers import Failure, run_tasks
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Star
from ariel_lib.io.light_curves import load_light_curves
from ariel_lib.io.storage import write_atomically
from ariel_lib.io.submission import read_submission
from ariel_lib.symbolic.context import Context, make_context
from ariel_lib.symbolic.molecular_bands import molecule_shares
from ariel_lib.symbolic.rules import RULES, Violations, find_violations
from ariel_lib.transit.bumps.fit import BumpDetection, detect_bumps, known_candidate, total_depth_bias


def make_rule_context(
    mean: np.ndarray, sigma: np.ndarray, wavelength: np.ndarray, detections: Sequence[Sequence[BumpDetection]]
) -> tuple[torch.Tensor, Context]:
    """The spectra (planet, wavelength) as a tensor, and the context that the rules take.

    mean, sigma  (planet, wavelength)
    wavelength   (wavelength,) micron
    detections   one sequence of bump detections for each planet

    Where an achromatic bump was found, the spectrum is compared with a fit of the same light curves that has the bump as a
    regressor: the part of the bump's depth bias that the spectrum contains violates the rule lensing_bump.
    """
    bias = np.stack([total_depth_bias(found, len(wavelength)) for found in detections])
    share = [found[0].followed(m, s, moved) if moved.any() else 0.0 for found, m, s, moved in zip(detections, mean, sigma, bias)]
    clean = mean - np.array(share)[:, None] * bias
    mu, stated, grid, moved, reference = (torch.tensor(x, dtype=torch.float64) for x in (mean, sigma, wavelength, bias, clean))
    return mu, make_context(mu, stated, grid, moved, reference)


def check_submission(
    submission: Path | str,
    dataset: Dataset,
    outdir: Path | str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Apply every rule to a submission; writes violations.jsonl and summary.json under outdir and returns the summary.

    submission  CSV file
    dataset     the data set of its light curves; without a scratch folder it takes the submission's folder
    workers     processes of the bump search

    violations.jsonl has a line for each violation (planet, rule, bin) and one for each planet; the summary has a row for each
    rule. A planet is searched for bumps in those of its light curves that can be read; files that cannot are under "unread", and
    planets that were searched without the star table's orbit under "notes".
    """
    outdir, folder = Path(outdir), Path(submission).parent
    dataset = dataset if dataset.scratch else dataset.with_scratch(folder)
    planets, mean, sigma = read_submission(submission)
    search = detect_bumps_in_planets(dataset.select(planets), workers, progress)
    detections, unread = search.detections, search.unread
    mu, context = make_rule_context(mean, sigma, dataset.wavelengths, [detections.get(planet, ()) for planet in planets])
    found = find_violations(mu, context)
    shares = molecule_shares(mu, context)
    lines = list(_log_lines(planets, dataset.wavelengths, found, detections, shares))
    write_atomically(outdir / "violations.jsonl", "\n".join(json.dumps(line) for line in lines) + "\n")
    summary = {
        "planets": len(planets), "with_light_curves": len(detections), "unread": {p: f.reason for p, f in unread.items()},
        "notes": search.notes, "tracebacks": {p: f.traceback for p, f in unread.items() if f.traceback},
        "rules": summarise(planets, found),
    }  # fmt: skip
    write_atomically(outdir / "summary.json", json.dumps(summary, indent=1))
    return summary


def summarise(planets: Sequence[str], found: dict[str, Violations]) -> list[dict]:
    """A row for each rule: planets and bins that violate it, the worst planet, and its largest deviation in ppm and in sigmas."""
    rows = []
    for name, violations in found.items():
        flagged, ppm, sigmas = (x.numpy() for x in (violations.flagged, violations.ppm, violations.sigmas))
        row = {"rule": name, "planets": int(flagged.any(axis=1).sum()), "bins": int(flagged.sum()), "worst": None}
        if flagged.any():
            planet, bin_ = np.unravel_index(np.argmax(np.where(flagged, np.abs(sigmas), -1)), flagged.shape)
            row |= {"worst": planets[planet], "ppm": float(ppm[planet, bin_]), "sigmas": float(sigmas[planet, bin_])}
        rows.append(row | {"reference": RULES[name].reference})
    return rows


def _log_lines(planets, wavelength, found: dict[str, Violations], detections, shares):
    for row, planet in enumerate(planets):
        for name, violations in found.items():
            for bin_ in violations.flagged[row].nonzero().flatten().tolist():
                yield {
                    "planet": planet, "rule": name, "bin": bin_ + 1, "wavelength": round(float(wavelength[bin_]), 5),
                    "ppm": round(float(violations.ppm[row, bin_]), 3), "sigmas": round(float(violations.sigmas[row, bin_]), 2),
                }  # fmt: skip
        yield {
            "planet": planet,
            "violated": [name for name, violations in found.items() if violations.flagged[row].any()],
            "molecules": {name: round(float(share[row]), 4) for name, share in shares.items() if share[row].isfinite()},
            "bumps": [
                {"visit": g.visit, "kind": "achromatic" if g.bump.achromatic else "chromatic", **asdict(g.bump)}
                for g in detections.get(planet, ())
                if g.bump.exists
            ],
        }


@dataclass(frozen=True)
class Task:
    """One planet to search for bumps: light-curve files, star, wavelengths (micron), and the file of its transit fit, if there is one."""

    planet: str
    paths: tuple[Path, ...]
    star: Star | None
    wavelength: tuple[float, ...]
    kept: Path


@dataclass(frozen=True)
class BumpSearch:
    """Bump detections of many planets, one for each visit that can be read.

    detections  planets with light curves
    unread      planets with light curves that cannot be read, all or some of them
    notes       remarks on planets that were searched without the star table's orbit
    """

    detections: dict[str, list[BumpDetection]]
    unread: dict[str, Failure]
    notes: dict[str, str]


def detect_bumps_in_planets(
    dataset: Dataset, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> BumpSearch:
    """detect_bumps for every planet of a data set that has light curves, in parallel.

    dataset  with a scratch folder; a transit fit stored there gives the transit's place
    """
    present, wavelength = dataset.light_curve_visits, tuple(dataset.wavelengths.tolist())
    found, unread, notes, tasks = {}, {}, {}, []
    for planet in (planet for planet in dataset.planets if planet in present):
        paths, damage = dataset.find_light_curves(planet, present[planet])
        star, wrong = dataset.find_star(planet)
        unread |= {planet: Failure(damage)} if damage else {}
        notes |= {planet: wrong} if wrong else {}
        tasks += [Task(planet, paths, star, wavelength, dataset.fit_path(planet))] if paths else []
    for done, settled in enumerate(run_tasks(tasks, _detect, workers), 1):
        if settled.failure is None:
            found[settled.task.planet] = settled.result
        else:
            unread[settled.task.planet] = settled.failure
        if progress:
            progress(done, len(tasks))
    return BumpSearch({task.planet: found[task.planet] for task in tasks if task.planet in found}, unread, notes)


def _detect(task: Task) -> list[BumpDetection]:
    with threadpool_limits(1):
        visits = [load_light_curves(path) for path in task.paths]
        return detect_bumps(visits, task.star, np.array(task.wavelength), known_candidate(task.kept))
