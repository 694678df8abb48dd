"""Ranking of the points of an ablation by a composite score.

The composite is a weighted sum of figures, each normalised over the grid: 1 for the best point, 0 for the worst, linear
between; 1 for all points where all are equal.
"""

from collections.abc import Mapping, Sequence

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
