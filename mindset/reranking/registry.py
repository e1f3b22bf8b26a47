"""Open the reranker that a knowledge base's configuration names."""

from __future__ import annotations

import threading

from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.reranking.bedrock import BedrockReranker
from mindset.reranking.nim import NimReranker
from mindset.reranking.protocol import Reranker


class RerankerRegistry:
    """The rerankers of a process, opened at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: dict[Reranking, Reranker] = {}

    def get(self, reranking: Reranking) -> Reranker:
        """Return the reranker of a configuration. Raises what `open_reranker` raises."""
        with self._lock:
            if reranking not in self._opened:
                self._opened[reranking] = open_reranker(reranking, self._settings)
            return self._opened[reranking]

    def close(self) -> None:
        """Close all opened rerankers."""
        for reranker in self._opened.values():
            reranker.close()


def open_reranker(reranking: Reranking, settings: Settings) -> Reranker:
    """Return the reranker of a configuration. The caller closes it. Raises ConfigurationError."""
    match reranking.provider:
        case "nim":
            return NimReranker(settings.nim_url, reranking.model, settings.nim_api_key)
        case "bedrock":
            return BedrockReranker(reranking.model, region=settings.bedrock_region, url=settings.bedrock_url)
