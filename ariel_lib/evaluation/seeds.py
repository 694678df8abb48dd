"""Several trainings of the same comparison: scores averaged over training seeds, with two errors.

The error over planets is the paired bootstrap error of the mean over seeds: what another draw of test planets would change. The spread
is the standard deviation between the seeds: what another training changes.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ariel_lib.config import ConfigError
from ariel_lib.metrics import bootstrap_error

SEED = "training.seed"
_SEED = re.compile(rf"\s*\b({re.escape(SEED)}=\d+)")
Scores = Mapping[str, Mapping[str, float]]
"""Score of each planet, by method and planet."""


def require_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Raises ConfigError where a seed is given twice, or fewer than two seeds."""
    if len(set(seeds)) < max(2, len(seeds)):
        raise ConfigError(f"seeds: expected two or more different numbers, found {', '.join(map(str, seeds))}.")
    return tuple(seeds)


def tabulate_seeds(scores: Sequence[Scores], first: str) -> tuple[dict[str, dict[str, float]], list[str]]:
    """For each method that all seeds have: score, its error and spread; the lead of `first` over it, its paired error and spread.

    scores  of each seed

    Returns the table and the planets, those that all methods have with all seeds.
    """
    methods = [name for name in scores[0] if all(name in found for found in scores)]
    common = set.intersection(*(set(found[name]) for found in scores for name in methods))
    planets = [planet for planet in scores[0][methods[0]] if planet in common]
    values = {name: np.array([[found[name][planet] for planet in planets] for found in scores]) for name in methods}  # (seed, planet)
    table = {}
    for name, own in values.items():
        lead = values[first] - own
        table[name] = {
            "score": float(own.mean()), "score_error": bootstrap_error(own.mean(axis=0)), "score_spread": _spread(own),
            "lead": float(lead.mean()), "lead_error": bootstrap_error(lead.mean(axis=0)), "lead_spread": _spread(lead),
        }  # fmt: skip
    return table, planets


def _spread(values: np.ndarray) -> float:
    """Standard deviation between seeds of the means over planets; values (seed, planet)."""
    return float(values.mean(axis=1).std(ddof=1))


def seeds_markdown(table: Mapping[str, Mapping[str, float]], what: str, first: str) -> str:
    """Markdown table of tabulate_seeds, the best last."""
    lines = [f"| {what} | score | spread of the seeds | lead of {first} | spread of the seeds |", "|---" * 5 + "|"]
    for name, row in sorted(table.items(), key=lambda item: item[1]["score"]):
        lead = "" if name == first else f"{row['lead']:+.4f} ± {row['lead_error']:.4f}"
        spread = "" if name == first else f"{row['lead_spread']:.4f}"
        lines.append(f"| {name} | {row['score']:.4f} ± {row['score_error']:.4f} | {row['score_spread']:.4f} | {lead} | {spread} |")
    return "\n".join(lines) + "\n"


def points_markdown(figures: Sequence[Mapping], first: str) -> str:
    """seeds_markdown of the points of a grid, each run with every seed: `point`, a name with its seed, and `shares`, scores by planet.

    first  the name of the point with which the others are compared

    Seeds with which a point failed are left out.
    """
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for row in figures:
        found.setdefault(_SEED.search(row["point"])[1], {})[_without_seed(row["point"])] = row["shares"]
    points = {point for scores in found.values() for point in scores}
    whole = [scores for scores in found.values() if set(scores) == points]
    if len(whole) < 2:
        return f"No table: every point ended well with {len(whole)} of {len(found)} seeds.\n"
    return seeds_markdown(tabulate_seeds(whole, _without_seed(first))[0], "point", _without_seed(first))


def _without_seed(point: str) -> str:
    return _SEED.sub("", point).strip() or "base"
