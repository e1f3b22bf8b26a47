"""Rerankers: models that read a question beside each passage, which vectors and words apart from each other cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from mindset import nim
from mindset.breaker import Breaker
from mindset.deadline import Deadline
from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.knowledge_base import Reranking
from mindset.settings import Settings

if TYPE_CHECKING:
    from pydantic import SecretStr

# Searches at a time; more of them wait for a connection, within their deadlines.
_CONNECTIONS = 32


class Reranker(Protocol):
    """Orders texts by how well they answer a question; thread-safe.

    It is asked once: a search has no time for a second try, and is told without this step. One that fails again and
    again is left alone for a while, so that not every search waits for it."""

    def order(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        """Indexes of all texts, best first. Raises ProviderRejected, ProviderUnavailable."""
        ...

    def close(self) -> None: ...


def open_reranker(reranking: Reranking, settings: Settings) -> Reranker:
    """The reranker of a configuration; the caller closes it. Raises ConfigurationError."""
    match reranking.provider:
        case "nim":
            return NimReranker(settings.nim_url, reranking.model, settings.nim_api_key)
        case "bedrock":
            return BedrockReranker(reranking.model, region=settings.bedrock_region, url=settings.bedrock_url)


class NimReranker:
    """NVIDIA's rerankers, over the HTTP interface of a NIM."""

    def __init__(self, url: str, model: str, api_key: SecretStr | None = None) -> None:
        self._model = model
        self._client = nim.open_client(url, api_key, connections=_CONNECTIONS)
        self._breaker = Breaker(f"nim:{model}")

    def order(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        body = {
            "model": self._model,
            "query": {"text": question},
            "passages": [{"text": text} for text in texts],
            "truncate": "END",  # what a long passage begins with is better than no order at all
        }
        with (
            _admitted(self._breaker),
            nim.answer(self._client, self._model, "ranking", body, deadline) as response,
        ):
            raw = b"".join(nim.chunks(response, self._model, deadline))
            return _order(f"NIM model {self._model}", raw, "rankings", "logit", len(texts))

    def close(self) -> None:
        self._client.close()


class BedrockReranker:
    """Cohere's and Amazon's rerankers, on Bedrock."""

    def __init__(self, model: str, *, region: str = "us-east-1", url: str | None = None) -> None:
        from mindset import bedrock  # boto3 takes a while to load, and most knowledge bases need none of it

        self._model, self._errors = model, bedrock.errors
        self._clients = bedrock.Clients(region, url, _CONNECTIONS)
        self._clients.patient(1.0)  # opened now: what most searches have left, and boto3 takes half a second for it
        self._breaker = Breaker(f"bedrock:{model}")

    def order(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        body: dict[str, Any] = {"query": question, "documents": list(texts), "top_n": len(texts)}
        if "cohere." in self._model:
            body["api_version"] = 2
        with _admitted(self._breaker), self._errors(self._model):
            deadline.check(f"Bedrock model {self._model}")
            response = self._clients.patient(deadline.left()).invoke_model(
                modelId=self._model, body=json.dumps(body), contentType="application/json", accept="application/json"
            )
            raw = response["body"].read()
            return _order(f"Bedrock model {self._model}", raw, "results", "relevance_score", len(texts))

    def close(self) -> None:
        self._clients.close()


@contextmanager
def _admitted(breaker: Breaker) -> Iterator[None]:
    """Let the breaker see what becomes of a request. Raises ProviderUnavailable while it is open."""
    breaker.admit()
    try:
        yield
    except ProviderUnavailable:
        breaker.failed()
        raise
    except ProviderRejected:
        breaker.succeeded()  # it is there, and says no
        raise
    breaker.succeeded()


def _order(who: str, raw: bytes, member: str, score: str, expected: int) -> list[int]:
    """Indexes by falling score, whatever order they came in; equal ones as they were asked for."""
    try:
        scored = [(-float(each[score]), int(each["index"])) for each in json.loads(raw)[member]]
    except (KeyError, TypeError, ValueError) as wrong:
        raise ProviderUnavailable(f"{who} gave something that is no ranking ({type(wrong).__name__}).") from wrong
    order = [index for _, index in sorted(scored)]
    if sorted(order) != list(range(expected)):
        raise ProviderUnavailable(f"{who} ranked {len(order)} passages, not each of the {expected} it was asked about.")
    return order
