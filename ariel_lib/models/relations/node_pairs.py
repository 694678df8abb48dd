"""Pairs of nodes within a group and between groups: what several edge types are made of."""

from torch import Tensor

Pair = tuple[int, int]


def band_nodes(wavelength: Tensor, low: float, high: float) -> list[int]:
    """AIRS nodes between two wavelengths in micron; FGS1, being broad, belongs to no band."""
    inside = (wavelength >= low) & (wavelength <= high)
    return [node for node in inside.nonzero().flatten().tolist() if node > 0]


def spread_pairs(nodes: list[int]) -> set[Pair]:
    """Each node with those at a quarter of the group's length and one further, at least 3 steps: at most four edges per node.

    Two steps without a common divisor connect the whole group; a single step would leave it in as many parts as the step.
    """
    step = max(3, len(nodes) // 4)
    return {(nodes[place], nodes[place + step]) for step in (step, step + 1) for place in range(len(nodes) - step)}


def matching_pairs(first: list[int], second: list[int]) -> set[Pair]:
    """Each node of the shorter band with the node at the same fraction of the longer band, if different."""
    short, long = sorted((first, second), key=len)
    partners = [long[place * len(long) // len(short)] for place in range(len(short))]
    return {(min(pair), max(pair)) for pair in zip(short, partners, strict=True) if pair[0] != pair[1]}
