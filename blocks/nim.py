"""The block of NVIDIA NIM."""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from mindset.embedding.nim import NimEmbedder
from mindset.providers.nim_client import list_models


class NimService(Block):
    """A NIM, hosted or self-hosted, for embeddings and answers."""

    _block_type_name: ClassVar[str | None] = "NIM Service"
    _block_type_slug: ClassVar[str | None] = "nim-service"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/nvidia"
    _description: ClassVar[str | None] = "An NVIDIA NIM that embeds texts or writes answers."

    url: str = Field(default="https://integrate.api.nvidia.com/v1", description="Address up to and including /v1")
    api_key: SecretStr | None = Field(default=None, description="Key of the hosted NIM; a self-hosted NIM needs none")

    def open(self, model: str, dimension: int) -> NimEmbedder:
        """Open an embedder of one of the NIM's models."""
        return NimEmbedder(self.url, model, dimension, self.api_key)

    def test_connection(self) -> str:
        """Return the models it serves. Raises ProviderRejected, ProviderUnavailable."""
        return ", ".join(list_models(self.url, self.api_key))

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block overrides."""
        return {"nim_url": self.url, "nim_api_key": self.api_key}
