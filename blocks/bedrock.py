"""The block of AWS Bedrock."""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from mindset.embedding.bedrock import BedrockEmbedder


class BedrockService(Block):
    """Bedrock's runtime in one region. Credentials come from boto3's usual chain (on EKS, the pod's role)."""

    _block_type_name: ClassVar[str | None] = "Bedrock Service"
    _block_type_slug: ClassVar[str | None] = "bedrock-service"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/amazonwebservices"
    _description: ClassVar[str | None] = "AWS Bedrock: Titan and Cohere embeddings, and answers through Converse."

    region: str = Field(default="us-east-1", description="AWS region")
    url: str | None = Field(default=None, description="URL if not the region's default, such as a VPC endpoint")
    probe_model: str = Field(
        default="amazon.titan-embed-text-v2:0", description="Embedding model that the connection test calls"
    )

    def open(self, model: str, dimension: int) -> BedrockEmbedder:
        """Open an embedder of one of Bedrock's models."""
        return BedrockEmbedder(model, dimension, region=self.region, url=self.url)

    def test_connection(self) -> str:
        """Embed a word and return the vector's length. Raises ProviderRejected, ProviderUnavailable."""
        embedder = self.open(self.probe_model, 1024)
        try:
            return f"{self.probe_model}: {len(embedder.embed_query('test'))} dimensions"
        finally:
            embedder.close()

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block overrides."""
        return {"bedrock_region": self.region, "bedrock_url": self.url}
