"""A submission and, where there are, its light curves → what the physics rules have against it, planet by planet.

Knows the rules and the transit fit, not how either works; no truth and no network.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.archive import Archive, Star
from ariel_lib.calibration.light_curves import LightCurves, light_curves_path, list_light_curves, load_light_curves
from ariel_lib.storage import write_atomically
from ariel_lib.submission import read_submission
from ariel_lib.survey import Observation
from ariel_lib.symbolic.bump_search import Band
from ariel_lib.symbolic.context import Context, make_context
from ariel_lib.symbolic.microlensing import Bump, bump_shape, find_bump
from ariel_lib.symbolic.radiative_transfer import molecule_shares
from ariel_lib.symbolic.rules import RULES, Violations, find_violations
from ariel_lib.transit.estimate import UNKNOWN_ORBIT, UNKNOWN_TEMPERATURE, DepthEstimate, load_estimate, make_problem
from ariel_lib.transit.fit import DEPTH_PRIOR, LOG_A, Problem, Solution, common_response, solve, tangent
from ariel_lib.transit.orbit import orbit_prior
from ariel_lib.transit.search import Candidate, find_transit
from ariel_lib.transit.segments import MIN_SAMPLES, Segment, make_segments, merge_channels

AIRS_BANDS = 6
DOUBT = 2.0  # errors of the guard's fit that a spectrum may differ from it without following a bump
SAMPLES_A_BIN = 3  # of 24 s: the shortest bump lasts for several


@dataclass(frozen=True)
class Guarded:
    """What the microlensing guard saw in one visit: the bump, and the depth (wavelength,) that it would feign.

    depth (wavelength,)          of the guard's coarse fit of all visits, bumps included
    root  (wavelength, channel)  its covariance is root · rootᵀ
    """

    visit: int
    bump: Bump
    shift: np.ndarray
    depth: np.ndarray
    root: np.ndarray

    def followed(self, mean: np.ndarray, sigma: np.ndarray, shift: np.ndarray) -> float:
        """The share of a planet's feigned shift that a spectrum follows, beyond DOUBT errors of the fit."""
        weight = shift / sigma**2
        weight /= weight @ shift
        share, error = weight @ (mean - self.depth + shift), np.linalg.norm(weight @ self.root)
        return float(np.sign(share) * max(abs(share) - DOUBT * error, 0.0))


def guard_planet(
    visits: Sequence[LightCurves], star: Star | None, wavelength: np.ndarray, candidate: Candidate | None = None
) -> list[Guarded]:
    """The strongest bump of each visit, whether it passes for one or not.

    wavelength (wavelength,) micron, FGS1 first; candidate: where the transit is, or None to look for it.
    """
    fitted = fit_bands(visits, star, wavelength, candidate)
    if fitted is None:
        return []
    problem, fit = fitted
    basis = np.stack([_on_grid(problem, column, wavelength) for column in np.eye(problem.n_channels)], axis=1)
    depth, root = basis @ fit.depth, basis @ np.linalg.cholesky(fit.covariances()[0])
    found = []
    for visit in sorted({segment.visit for segment in problem.segments}):
        bump = find_bump(*light_near_fit(problem, fit, visit), problem.duration)
        if bump is not None:
            found.append(Guarded(visit, bump, basis @ _shift(problem, fit, visit, bump), depth, root))
    return found


def fit_bands(
    visits: Sequence[LightCurves], star: Star | None, wavelength: np.ndarray, candidate: Candidate | None = None
) -> tuple[Problem, Solution] | None:
    """The transit fit of FGS1 and a few AIRS bands that the guard looks beneath; None without usable light."""
    segments = make_segments(list(visits), wavelength)
    bands = [coarsen(merge_channels(segment, AIRS_BANDS), SAMPLES_A_BIN) for segment in segments]
    if not bands:
        return None
    prior = UNKNOWN_ORBIT if star is None else orbit_prior(star.P, star.sma, star.i)
    if candidate is None:
        white = [coarsen(merge_channels(band, 1), SAMPLES_A_BIN) for band in bands]  # fine enough to begin a fit with
        candidate = find_transit(white, prior.period, prior.log_a[0], prior.b_squared[0])
    temperature = UNKNOWN_TEMPERATURE if star is None else star.Ts
    problem = make_problem(bands, 1 + AIRS_BANDS, prior, temperature, candidate)
    start = problem.prior_mean.copy()
    start[LOG_A] = candidate.log_a
    return problem, solve(problem, np.full(1 + AIRS_BANDS, candidate.depth), start, steps=20)


def coarsen(segment: Segment, width: int) -> Segment:
    """The same segment in samples `width` times as long; a rest at the end is left out. A visit too short stays as it is."""
    n = len(segment.time) // width
    if n < MIN_SAMPLES:
        return segment

    def mean(columns: np.ndarray) -> np.ndarray:
        return columns[: n * width].reshape(n, width, *columns.shape[1:]).mean(axis=1)

    parts = segment.weight[:, : n * width].reshape(-1, n, width)
    weight = parts.sum(axis=-1)
    total = (parts * segment.flux[:, : n * width].reshape(-1, n, width)).sum(axis=-1)
    return replace(
        segment, time=mean(segment.time), exposure=width * segment.exposure, weight=weight, trend=mean(segment.trend),
        nuisance=mean(segment.nuisance), flux=np.divide(total, weight, out=np.zeros_like(total), where=weight > 0),
    )  # fmt: skip


def feigned_depth(observation: Observation, wavelength: np.ndarray) -> np.ndarray:
    """The depth that achromatic bumps in a planet's light curves would add, (wavelength,); zero where there are none."""
    candidate = _candidate(observation.estimate)
    found = guard_planet(observation.visits(), observation.star, wavelength, candidate)
    return total_shift(found, len(wavelength))


def total_shift(found: Sequence[Guarded], n_wavelengths: int) -> np.ndarray:
    return sum((g.shift for g in found if g.bump.achromatic), np.zeros(n_wavelengths))


def known_candidate(path: Path) -> Candidate | None:
    """The transit of a kept estimate, or None where there is none."""
    if not path.is_file():
        return None
    return _candidate(load_estimate(path))


def _candidate(estimate: DepthEstimate) -> Candidate:
    t0 = {curve.visit: curve.t0 for curve in estimate.white}
    return Candidate(t0, float(estimate.orbit[LOG_A]), float(np.median(estimate.depth)), np.inf)


def light_near_fit(problem: Problem, fit: Solution, visit: int) -> tuple[list[Band], np.ndarray]:
    """The bands of one visit near the fit, and the prior precision (parameter,) of all that the fit follows: depths, shared
    parameters (drift among them), then each band's own level and regressors."""
    indices = _segments_of(problem, visit)
    near = [tangent(problem, n, fit.depth, fit.shared) for n in indices]
    n_shared, n_own = len(fit.shared), [t.own.shape[0] * t.own.shape[1] for t in near]
    start = problem.n_channels + n_shared
    precision = np.concatenate([np.full(problem.n_channels, DEPTH_PRIOR[1] ** -2), 1 / problem.prior_sigma**2, np.zeros(sum(n_own))])
    bands = []
    for index, t in zip(indices, near):
        segment = problem.segments[index]
        for n, lam in enumerate(segment.wavelength):
            design = np.zeros((len(precision), len(segment.time)))
            by_parameter = t.expand[n].T @ t.columns[n]
            design[segment.channels[n]] = by_parameter[0]
            design[problem.n_channels + t.where] = by_parameter[1:]
            design[start : start + t.own.shape[1]] = t.own[n]
            start += t.own.shape[1]
            bands.append(Band(float(lam), segment.time, t.residual[n], segment.weight[n], t.smooth[n], design))
    return bands, precision


def _segments_of(problem: Problem, visit: int) -> list[int]:
    return [n for n, segment in enumerate(problem.segments) if segment.visit == visit]


def _shift(problem: Problem, fit: Solution, visit: int, bump: Bump) -> np.ndarray:
    """The depth that the bump adds where it is not told from the transit, (channel,), through the fit's response."""
    by_band = np.zeros(problem.n_channels)
    for n in _segments_of(problem, visit):
        by_band += common_response(problem, fit, n)[0] @ (bump.amplitude * bump_shape(bump, problem.segments[n].time))
    return by_band


def _on_grid(problem: Problem, by_band: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """FGS1 and a few AIRS bands (channel,) → (wavelength,), straight between the bands' centres."""
    centres = {int(c): lam for s in problem.segments for c, lam in zip(s.channels, s.wavelength)}
    airs = sorted(c for c in centres if c > 0)
    grid = np.full(len(wavelength), by_band[0])
    if airs:
        grid[1:] = np.interp(wavelength[1:], [centres[c] for c in airs], by_band[airs])
    return grid


def guarded_context(
    mean: np.ndarray, sigma: np.ndarray, wavelength: np.ndarray, guarded: Sequence[Sequence[Guarded]]
) -> tuple[torch.Tensor, Context]:
    """The spectra (planet, wavelength) as a tensor, and all that the rules may know of them; guarded: a row a planet.

    Where an achromatic bump was found, the spectrum is held against the guard's own fit without the bump: as far as it
    follows what the bump feigns, it is violated.
    """
    shift = np.stack([total_shift(found, len(wavelength)) for found in guarded])
    share = [found[0].followed(m, s, moved) if moved.any() else 0.0 for found, m, s, moved in zip(guarded, mean, sigma, shift)]
    clean = mean - np.array(share)[:, None] * shift
    mu, stated, grid, moved, reference = (torch.tensor(x, dtype=torch.float64) for x in (mean, sigma, wavelength, shift, clean))
    return mu, make_context(mu, stated, grid, moved, reference)


def check_submission(
    submission: Path | str,
    data: Path | str,
    outdir: Path | str,
    *,
    split: str = "test",
    light_curves: Path | str | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Judge a submission by every rule; writes violations.jsonl (a line for each planet, rule and bin that violates it, and
    one for each planet) and summary.json under outdir. Returns the summary: a row a rule.

    light_curves  folder that `calibrate` wrote: the microlensing guard reads it. None: {data}/lightcurves, else lightcurves
                  beside the submission, where `predict` makes them; without any, the guard sees nothing
    """
    archive, outdir = Archive(data), Path(outdir)
    planets, mean, sigma = read_submission(submission)
    wavelength = archive.wavelengths()
    folders = [archive.root / "lightcurves", Path(submission).parent / "lightcurves"]
    folder = Path(light_curves) if light_curves is not None else next((f for f in folders if f.is_dir()), folders[0])
    kept = Path(submission).parent / "estimates" / split
    guarded = guard_planets(archive, split, folder, kept, planets, workers, progress)
    mu, context = guarded_context(mean, sigma, wavelength, [guarded.get(planet, ()) for planet in planets])
    found = find_violations(mu, context)
    shares = molecule_shares(mu, context)
    lines = list(_log_lines(planets, wavelength, found, guarded, shares))
    write_atomically(outdir / "violations.jsonl", ("\n".join(json.dumps(line) for line in lines) + "\n").encode())
    summary = {"planets": len(planets), "guarded": len(guarded), "rules": summarise(planets, found)}
    write_atomically(outdir / "summary.json", json.dumps(summary, indent=1).encode())
    return summary


def summarise(planets: Sequence[str], found: dict[str, Violations]) -> list[dict]:
    """Rows rule, planets violating, bins, worst planet, its largest deviation in ppm and in sigmas."""
    rows = []
    for name, violations in found.items():
        flagged, ppm, sigmas = (x.numpy() for x in (violations.flagged, violations.ppm, violations.sigmas))
        row = {"rule": name, "planets": int(flagged.any(axis=1).sum()), "bins": int(flagged.sum()), "worst": None}
        if flagged.any():
            planet, bin_ = np.unravel_index(np.argmax(np.where(flagged, np.abs(sigmas), -1)), flagged.shape)
            row |= {"worst": planets[planet], "ppm": float(ppm[planet, bin_]), "sigmas": float(sigmas[planet, bin_])}
        rows.append(row | {"reference": RULES[name].reference})
    return rows


def _log_lines(planets, wavelength, found: dict[str, Violations], guarded, shares):
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
            "molecules": {name: round(float(share[row]), 4) for name, share in shares.items()},
            "bumps": [
                {"visit": g.visit, "kind": "achromatic" if g.bump.achromatic else "chromatic", **asdict(g.bump)}
                for g in guarded.get(planet, ())
                if g.bump.exists
            ],
        }


def guard_planets(
    archive: Archive, split: str, folder: Path, kept: Path, planets: Sequence[str], workers: int = 1, progress=None
) -> dict[str, list[Guarded]]:
    """guard_planet for every planet with light curves under folder, side by side; kept: folder of estimates, used if there."""
    present, found = list_light_curves(folder, split), {}
    tasks = [
        (
            [light_curves_path(folder, split, planet, visit) for visit in present[planet]],
            archive.star(split, planet),
            kept / f"{planet}.safetensors",
        )
        for planet in planets
        if planet in present
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(partial(_guard_task, archive.wavelengths()), tasks, chunksize=4)
        for done, (planet, guarded) in enumerate(zip((p for p in planets if p in present), results), 1):
            found[planet] = guarded
            if progress:
                progress(done, len(tasks))
    return found


def _guard_task(wavelength: np.ndarray, task: tuple[list[Path], Star | None, Path]) -> list[Guarded]:
    paths, star, kept = task
    with threadpool_limits(1):
        return guard_planet([load_light_curves(path) for path in paths], star, wavelength, known_candidate(kept))
