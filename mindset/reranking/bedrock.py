"""Rerankers on Amazon Bedrock: Cohere and Amazon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mindset.providers.circuit_breaker import CircuitBreaker, guarded
from mindset.providers.deadline import Deadline
from mindset.reranking.response import CONNECTIONS, parse_ranking


class BedrockReranker:
    """A reranker of Bedrock. Thread-safe."""

    def __init__(self, model: str, *, region: str = "us-east-1", url: str | None = None) -> None:
        # Imported here: boto3 is slow to import, and most knowledge bases do not need it.
        from mindset.providers import bedrock_client

        self._model, self._translate_errors = model, bedrock_client.translate_errors
        self._clients = bedrock_client.Clients(region, url, CONNECTIONS)
        # Opening a client takes half a second, so the one that most searches need is opened here.
        self._clients.with_timeout(1.0)
        self._breaker = CircuitBreaker(f"bedrock:{model}")

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        body: dict[str, Any] = {"query": question, "documents": list(texts), "top_n": len(texts)}
        if "cohere." in self._model:
            body["api_version"] = 2
        with guarded(self._breaker), self._translate_errors(self._model):
            deadline.check(f"Bedrock model {self._model}")
            response = self._clients.with_timeout(deadline.seconds_left()).invoke_model(
                modelId=self._model, body=json.dumps(body), contentType="application/json", accept="application/json"
            )
            raw = response["body"].read()
            return parse_ranking(f"Bedrock model {self._model}", raw, "results", "relevance_score", len(texts))

    def close(self) -> None:
        self._clients.close()
