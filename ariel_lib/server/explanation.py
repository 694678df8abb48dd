"""Contributions to the network's spectrum of one planet: decoder gates, attributions and edges of the wavelength graph.

They are read from explanation.safetensors, which diagnostics/attribution.py writes.
"""

import json
from pathlib import Path

import numpy as np

from ariel_lib.server.reading import ArrayFile, UnreadableFile, of_length, open_arrays
from ariel_lib.server.schemas import BandAttribution, Edge, PlanetDetail
from ariel_lib.server.values import as_number, as_series, as_text

EDGES_SHOWN = 12


def add_explanation(detail: PlanetDetail, path: Path, planet: str) -> None:
    """Fill gates, attributions, relation_shares and edges of detail, or add the reason of their absence to its `missing`.

    Raises UnreadableFile for a damaged file.
    """
    size = len(detail.mean)
    with open_arrays(path) as arrays:
        row = arrays.row_of(planet)
        if row is None:
            detail.missing["explanation"] = f"{path.name} has no row for this planet"
            return
        gates = arrays.row("gates", row)
        experts = _labels(arrays, "experts", gates.shape[1])
        detail.gates = {name: of_length(gates[:, n], size) for n, name in enumerate(experts[: gates.shape[1]])}
        if row >= arrays.shape("shap")[0]:
            detail.missing["attributions"] = "computed for the first planets only: `diagnose dashboard --explained N` sets how many"
            return
        detail.attributions = _read_attributions(arrays, row, size)
        if "edge_share" in arrays.names:
            detail.relation_shares, detail.edges = _read_edges(arrays, row, size)


def _read_attributions(arrays: ArrayFile, row: int, size: int) -> list[BandAttribution]:
    shap, ig, correction, error = (arrays.row(name, row) for name in ("shap", "ig", "correction", "ig_error"))
    return [
        BandAttribution(
            name=f"band {n + 1} of {len(shap)}", shap=of_length(shap[n], size), ig=of_length(ig[n], size),
            correction=as_number(float(correction[n])), ig_error=as_number(float(error[n])),
        )
        for n in range(len(shap))
    ]  # fmt: skip


def _read_edges(arrays: ArrayFile, row: int, size: int) -> tuple[dict[str, list], list[Edge]]:
    """Each relation's share at every wavelength, and the strongest edges; both are means over layers."""
    share, (source, target), kind = arrays.row("edge_share", row).mean(axis=0), arrays.read("edge_index"), arrays.read("edge_type")
    attention = arrays.row("attention", row).mean(axis=0) if "attention" in arrays.names else None
    relations = _labels(arrays, "relations", int(kind.max()) + 1)
    if min(source.min(), target.min(), kind.min()) < 0 or max(source.max(), target.max()) >= size:
        raise UnreadableFile(f"expected edges between {size} wavelengths, found others")
    shares = {name: as_series(np.bincount(target[kind == n], share[kind == n], size)) for n, name in enumerate(relations)}
    strongest = np.argsort(-share)[:EDGES_SHOWN]
    return shares, [
        Edge(source=int(source[n]), target=int(target[n]), relation=relations[kind[n]], share=as_number(float(share[n])),
             attention=None if attention is None else as_number(float(attention[n])))
        for n in strongest
    ]  # fmt: skip


def _labels(arrays: ArrayFile, name: str, size: int) -> list[str]:
    """Names of the entries of an axis from the file's metadata, or numbers from 1 where it has fewer than `size`.

    There can be more names than entries, since relations without edges have a name too.
    """
    found = json.loads(arrays.metadata.get(name, "[]"))
    return [as_text(label, 40) for label in found] if len(found) >= size else [str(n + 1) for n in range(size)]
