"""Open the reranker that a knowledge base's configuration names."""

from __future__ import annotations

from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.providers.opened import OpenedOnce
from mindset.reranking.bedrock import BedrockReranker
from mindset.reranking.nim import NimReranker
from mindset.reranking.onnx import OnnxReranker
from mindset.reranking.protocol import Reranker


class RerankerRegistry:
    """The rerankers of a process, opened at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._opened = OpenedOnce[Reranking, Reranker](lambda reranking: open_reranker(reranking, settings))

    def get(self, reranking: Reranking, timeout_s: float | None = None) -> Reranker:
        """Return the reranker of a configuration. Raises what `open_reranker` raises.

        Raises ServiceUnavailable if another thread is still opening it after `timeout_s`."""
        return self._opened.get(reranking, timeout_s)

    def close(self) -> None:
        """Close all opened rerankers."""
        self._opened.close()


def open_reranker(reranking: Reranking, settings: Settings) -> Reranker:
    """Return the reranker of a configuration. The caller closes it. Raises ConfigurationError."""
    match reranking.provider:
        case "nim":
            return NimReranker(settings.nim_url, reranking.model, settings.nim_api_key)
        case "onnx":
            return OnnxReranker(reranking.model)
        case "bedrock":
            return BedrockReranker(reranking.model, region=settings.bedrock_region, url=settings.bedrock_url)
