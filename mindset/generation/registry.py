"""From a knowledge base's configuration to its generator."""

from __future__ import annotations

from mindset.generation.protocol import Generator
from mindset.knowledge_base import Generation
from mindset.settings import Settings


def open_generator(generation: Generation, settings: Settings) -> Generator:
    """The generator of a configuration; the caller closes it."""
    match generation.provider:
        case "extractive":
            from mindset.generation.extractive import ExtractiveGenerator

            return ExtractiveGenerator()
        case "nim":
            from mindset.generation.nim import NimGenerator

            return NimGenerator(
                settings.nim_url, generation.model, settings.nim_api_key,
                max_tokens=generation.max_tokens, deadline_s=generation.deadline_s,
            )  # fmt: skip
        case "bedrock":
            from mindset.generation.bedrock import BedrockGenerator

            return BedrockGenerator(
                generation.model, region=settings.bedrock_region, url=settings.bedrock_url,
                max_tokens=generation.max_tokens, deadline_s=generation.deadline_s,
            )  # fmt: skip
