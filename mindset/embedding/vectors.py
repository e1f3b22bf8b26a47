"""What every remote or local model's output must become: rows of length 1 and of the configured dimension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mindset.embedding.protocol import Vectors
from mindset.errors import DimensionMismatch, ProviderUnavailable


def empty_vectors(dimension: int) -> Vectors:
    """Those of no texts."""
    return np.empty((0, dimension), dtype=np.float32)


def unit_vectors(model: str, rows: Sequence[ArrayLike], dimension: int) -> Vectors:
    """Rows as they came, checked and normalised. Raises DimensionMismatch, ProviderUnavailable."""
    try:
        lengths = {len(np.asarray(row, dtype=np.float32)) for row in rows}
        if lengths - {dimension}:
            got = ", ".join(str(length) for length in sorted(lengths))
            raise DimensionMismatch(
                f"{model} gave vectors of {got} dimensions where {dimension} were expected. "
                f"Set embedding.dimension of the knowledge base to {got}."
            )
        vectors = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError) as wrong:
        raise ProviderUnavailable(f"{model} gave something that is not a vector: {wrong}. Try again.") from wrong
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        raise ProviderUnavailable(f"{model} gave a vector without a direction (zero, NaN or infinite). Try again.")
    return np.asarray(vectors / norms, dtype=np.float32)
