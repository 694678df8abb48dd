"""Projection of embeddings to two dimensions: UMAP (McInnes et al. 2018) and t-SNE (van der Maaten & Hinton 2008), seeded.

Needs the extra [diagnostics]. Neither preserves distances between distant groups.
"""

import warnings

import numpy as np

from ariel_lib.errors import SpectraMindError

FEWEST = 5  # planets; with fewer, neighbourhoods have no meaning


class ProjectionError(SpectraMindError):
    """Embeddings that cannot be projected: too few planets, or a missing package."""


def project(kind: str, embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """Coordinates (planet, 2) of standardised embeddings (planet, feature). kind: 'umap' or 'tsne'. Raises ProjectionError."""
    if len(embedding) < FEWEST:
        raise ProjectionError(f"{kind}: expected at least {FEWEST} planets, found {len(embedding)}")
    spread = embedding.std(axis=0)
    scaled = (embedding - embedding.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    try:
        method = _umap(len(embedding), seed) if kind == "umap" else _tsne(len(embedding), seed)
    except ImportError as error:
        raise ProjectionError(f"{kind}: pip install 'spectramind[diagnostics]' adds what it needs ({error})") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # umap warns that a seed implies a single thread
        return np.asarray(method.fit_transform(scaled.astype(np.float32)), dtype=np.float64)


def _umap(n: int, seed: int):
    from umap import UMAP

    # init="random": the spectral initialisation needs more planets than a toy set has.
    return UMAP(n_neighbors=min(15, n - 1), init="random", random_state=seed, n_jobs=1)


def _tsne(n: int, seed: int):
    from sklearn.manifold import TSNE

    return TSNE(perplexity=min(30.0, (n - 1) / 3), init="pca", random_state=seed)
