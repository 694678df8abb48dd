"""Ranking of the points of an ablation by a composite score, and their differences on test planets.

The composite is a weighted sum of figures, each normalised over the grid: 1 for the best point, 0 for the worst, linear
between; 1 for all points where all are equal.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ariel_lib.metrics import bootstrap_error

WEIGHTS = {"public": 0.40, "validation": 0.25, "coverage_gap": 0.10, "runtime_s": 0.15, "violations": 0.10}
HIGHER_IS_BETTER = ("public", "validation")
TIES = ("z_error", "mae", "runtime_s")  # lower is better; compared in this order
DIGITS = 9  # decimals to which composites are compared; a difference beyond them is a tie

Point = Mapping[str, float | None]


def shared_weights(points: Sequence[Point]) -> dict[str, float]:
    """WEIGHTS of the figures that every point has, rescaled to sum to one."""
    known = {name: weight for name, weight in WEIGHTS.items() if all(point.get(name) is not None for point in points)}
    total = sum(known.values())
    return {name: weight / total for name, weight in known.items()}


def normalised(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Values rescaled linearly from the worst (0) to the best (1)."""
    low, high = min(values), max(values)
    if low == high:
        return [1.0] * len(values)
    return [(value - low if higher_is_better else high - value) / (high - low) for value in values]


def composites(points: Sequence[Point]) -> list[float]:
    """The composite score of each point, higher is better."""
    scores = [0.0] * len(points)
    for name, weight in shared_weights(points).items():
        shares = normalised([point[name] for point in points], name in HIGHER_IS_BETTER)
        scores = [score + weight * share for score, share in zip(scores, shares)]
    return scores


def ranked(points: Sequence[Point]) -> list[tuple[int, float]]:
    """(index, composite) of the points, best first; ties by |z rms − 1|, then MAE, then runtime."""
    scores = composites(points)
    order = sorted(
        range(len(points)), key=lambda n: (-round(scores[n], DIGITS), *(points[n][name] for name in TIES))
    )  # fmt: skip
    return [(n, scores[n]) for n in order]


def weights_sentence(points: Sequence[Point]) -> str:
    """A sentence with the weights of the composite, and a second one where public scores are missing."""
    weights = shared_weights(points)
    sentence = "Composite: " + ", ".join(f"{weight:.3f} {name}" for name, weight in weights.items()) + "."
    if "public" not in weights:
        sentence += f" No public score for every point: its weight of {WEIGHTS['public']:.2f} is shared out among the others."
    return sentence


def with_differences(figures: list[dict], first: str) -> list[dict]:
    """The figures with `shares` replaced by their mean `test`, and by `difference` to the point `first` and its error.

    All are over the test planets that every point predicts. The difference and its bootstrap error are paired; both are NaN where
    `first` is not among the figures, since it failed.
    """
    common = [planet for planet in figures[0]["shares"] if all(planet in point["shares"] for point in figures)]
    shares = {point["point"]: np.array([point["shares"][planet] for planet in common]) for point in figures}
    found = []
    for point in figures:
        own = shares[point["point"]]
        paired = own - shares.get(first, np.nan)
        difference, error = (float(paired.mean()), bootstrap_error(paired)) if first in shares else (np.nan, np.nan)
        kept = {name: value for name, value in point.items() if name != "shares"}
        found.append(kept | {"test": float(own.mean()), "difference": difference, "difference_error": error})
    return found


def differences_table(figures: list[dict], first: str, failed: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    """Markdown table of the test scores and differences to the point `first`, in the order of the grid.

    Notes say if the first point failed and which test planets were left out, with reasons.
    """
    lines = [f"The first point, {first}, failed ({failed[first]}): there are no differences.", ""] if first in failed else []
    lines += ["| point | score of the test planets | difference to the first |", "|---|---|---|"]
    for row in figures:
        known = row["point"] != first and np.isfinite(row["difference"])
        apart = f"{row['difference']:+.4f} ± {row['difference_error']:.4f}" if known else ""
        lines.append(f"| {row['point']} | {row['test']:.4f} | {apart} |")
    for planet, reason in left_out.items():
        lines += ["", f"Left out for every point: {planet}: {reason}"]
    return "\n".join(lines) + "\n"
