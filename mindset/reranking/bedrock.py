"""Bedrock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mindset.providers.circuit_breaker import CircuitBreaker, guarded
from mindset.providers.deadline import Deadline
from mindset.reranking.response import CONNECTIONS, parse_ranking


class BedrockReranker:
    """Cohere's and Amazon's rerankers, on Bedrock."""

    def __init__(self, model: str, *, region: str = "us-east-1", url: str | None = None) -> None:
        from mindset.providers import (
            bedrock_client,  # boto3 takes a while to load, and most knowledge bases need none of it
        )

        self._model, self._errors = model, bedrock_client.translate_errors
        self._clients = bedrock_client.Clients(region, url, CONNECTIONS)
        self._clients.with_timeout(
            1.0
        )  # opened now: what most searches have left, and boto3 takes half a second for it
        self._breaker = CircuitBreaker(f"bedrock:{model}")

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        body: dict[str, Any] = {"query": question, "documents": list(texts), "top_n": len(texts)}
        if "cohere." in self._model:
            body["api_version"] = 2
        with guarded(self._breaker), self._errors(self._model):
            deadline.check(f"Bedrock model {self._model}")
            response = self._clients.with_timeout(deadline.seconds_left()).invoke_model(
                modelId=self._model, body=json.dumps(body), contentType="application/json", accept="application/json"
            )
            raw = response["body"].read()
            return parse_ranking(f"Bedrock model {self._model}", raw, "results", "relevance_score", len(texts))

    def close(self) -> None:
        self._clients.close()
