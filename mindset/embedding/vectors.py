"""Check and normalize the vectors that a model returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mindset.embedding.protocol import Vectors
from mindset.errors import DimensionMismatch, ProviderUnavailable


def empty_vectors(dimension: int) -> Vectors:
    """Return the vectors of no texts, of shape (0, dimension)."""
    return np.empty((0, dimension), dtype=np.float32)


def unit_vectors(model: str, rows: Sequence[ArrayLike], dimension: int) -> Vectors:
    """Return the rows normalized to length 1. Raises DimensionMismatch, ProviderUnavailable."""
    try:
        lengths = {len(np.asarray(row, dtype=np.float32)) for row in rows}
        if lengths - {dimension}:
            actual = ", ".join(str(length) for length in sorted(lengths))
            raise DimensionMismatch(
                f"{model} returned vectors of {actual} dimensions instead of {dimension} dimensions. "
                f"Set embedding.dimension of the knowledge base to {actual}."
            )
        vectors = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ProviderUnavailable(f"{model} returned an invalid vector: {error}. Try again.") from error
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        raise ProviderUnavailable(f"{model} returned a vector that is zero, NaN or infinite. Try again.")
    return np.asarray(vectors / norms, dtype=np.float32)
