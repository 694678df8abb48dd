"""A submission and, where there are, its light curves → what the physics rules have against it, planet by planet.

Knows the rules and the transit fit, not how either works; no truth and no network.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ariel_lib.io.archive import Archive
from ariel_lib.io.layout import Star, light_curves_path, list_light_curves
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
    """The spectra (planet, wavelength) as a tensor, and all that the rules may know of them; detections: a row a planet.

    Where an achromatic bump was found, the spectrum is held against the guard's own fit without the bump: as far as it
    follows what the bump feigns, it is violated.
    """
    shift = np.stack([total_depth_bias(found, len(wavelength)) for found in detections])
    share = [found[0].followed(m, s, moved) if moved.any() else 0.0 for found, m, s, moved in zip(detections, mean, sigma, shift)]
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
    detections = detect_bumps_in_planets(archive, split, folder, kept, planets, workers, progress)
    mu, context = make_rule_context(mean, sigma, wavelength, [detections.get(planet, ()) for planet in planets])
    found = find_violations(mu, context)
    shares = molecule_shares(mu, context)
    lines = list(_log_lines(planets, wavelength, found, detections, shares))
    write_atomically(outdir / "violations.jsonl", ("\n".join(json.dumps(line) for line in lines) + "\n").encode())
    summary = {"planets": len(planets), "detections": len(detections), "rules": summarise(planets, found)}
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
            "molecules": {name: round(float(share[row]), 4) for name, share in shares.items()},
            "bumps": [
                {"visit": g.visit, "kind": "achromatic" if g.bump.achromatic else "chromatic", **asdict(g.bump)}
                for g in detections.get(planet, ())
                if g.bump.exists
            ],
        }


def detect_bumps_in_planets(
    archive: Archive, split: str, folder: Path, kept: Path, planets: Sequence[str], workers: int = 1, progress=None
) -> dict[str, list[BumpDetection]]:
    """detect_bumps for every planet with light curves under folder, side by side; kept: folder of estimates, used if there."""
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
        results = pool.map(partial(_detect_task, archive.wavelengths()), tasks, chunksize=4)
        for done, (planet, detections) in enumerate(zip((p for p in planets if p in present), results), 1):
            found[planet] = detections
            if progress:
                progress(done, len(tasks))
    return found


def _detect_task(wavelength: np.ndarray, task: tuple[list[Path], Star | None, Path]) -> list[BumpDetection]:
    paths, star, kept = task
    with threadpool_limits(1):
        return detect_bumps([load_light_curves(path) for path in paths], star, wavelength, known_candidate(kept))
