"""NVIDIA's rerankers, through the HTTP API of a NIM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mindset.providers import nim_client
from mindset.providers.circuit_breaker import CircuitBreaker, guarded
from mindset.providers.deadline import Deadline
from mindset.reranking.response import CONNECTIONS, parse_ranking

if TYPE_CHECKING:
    from pydantic import SecretStr


class NimReranker:
    """A reranker of a NIM. Thread-safe."""

    def __init__(self, url: str, model: str, api_key: SecretStr | None = None) -> None:
        self._model = model
        self._client = nim_client.open_client(url, api_key, connections=CONNECTIONS)
        self._breaker = CircuitBreaker(f"nim:{model}")

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        body = {
            "model": self._model,
            "query": {"text": question},
            "passages": [{"text": text} for text in texts],
            "truncate": "END",  # a rank by the beginning of a long passage is better than none
        }
        with (
            guarded(self._breaker),
            nim_client.stream_response(self._client, self._model, "ranking", body, deadline) as response,
        ):
            raw = b"".join(nim_client.read_chunks(response, self._model, deadline))
            return parse_ranking(f"NIM model {self._model}", raw, "rankings", "logit", len(texts))

    def close(self) -> None:
        self._client.close()
