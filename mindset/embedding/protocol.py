"""What an embedder is: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

ModelId = NewType("ModelId", str)
"""Names a model's vector space forever: two embedders with the same id give the same vector for the same text."""

Vectors = NDArray[np.float32]
"""Shape (texts, dimension), each row of Euclidean length 1."""


class Embedder(Protocol):
    """Turns texts into vectors; thread-safe."""

    @property
    def model_id(self) -> ModelId: ...

    @property
    def dimension(self) -> int: ...

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to be found, in the order given.

        Raises ProviderRejected or ProviderUnavailable where the model is remote."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """The vector of a question, shape (dimension,)."""
        ...

    def close(self) -> None: ...
