"""The protocol of embedders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from mindset.providers.deadline import Deadline

ModelId = NewType("ModelId", str)
"""`provider:model:dimension`. Two embedders with the same id return the same vector for the same text."""

Vectors = NDArray[np.float32]
"""Shape (texts, dimension), each row of Euclidean length 1."""


class Embedder(Protocol):
    """Turns texts into vectors; thread-safe."""

    @property
    def model_id(self) -> ModelId: ...

    @property
    def dimension(self) -> int: ...

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, in the order of `texts`.

        Raises ProviderRejected or ProviderUnavailable if the model is remote."""
        ...

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        """Return the vector of a question, of shape (dimension,). Raises the same errors as `embed_passages`.

        A remote model is waited for until the deadline, retries included; without one, as long as for passages."""
        ...

    def close(self) -> None: ...
