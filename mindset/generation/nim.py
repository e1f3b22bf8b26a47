"""A generator for language models with the chat completions API of a NIM."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from itertools import count as count_from

import httpx
from pydantic import SecretStr

from mindset.errors import ProviderUnavailable
from mindset.generation.endpoint import Endpoint
from mindset.generation.prompt import Prompt, build_prompt
from mindset.generation.protocol import Piece, Usage
from mindset.generation.reasoning_filter import ReasoningFilter
from mindset.providers import nim_client
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

_DONE = "[DONE]"

# Concurrent answers per connection pool.
_ANSWERS_PER_POOL = 32


class NimGenerator:
    """A language model of a NIM. Thread-safe.

    `deadline_s` limits a whole answer including its retries. The endpoint limits the concurrent answers, because an
    overloaded model slows down all of them."""

    def __init__(
        self,
        url: str,
        model: str,
        api_key: SecretStr | None = None,
        *,
        max_tokens: int = 800,
        deadline_s: float = 60.0,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.name = f"nim:{model}"
        self._model = model
        self._max_tokens = max_tokens
        self._deadline_s = deadline_s
        self._endpoint = endpoint or Endpoint(self.name)
        # Several connection pools: for each request httpx scans all connections of a pool, which is slow for a thousand.
        count = max(1, self._endpoint.limits.concurrency // _ANSWERS_PER_POOL)
        self._clients = [nim_client.open_client(url, api_key, connections=2 * _ANSWERS_PER_POOL) for _ in range(count)]
        self._turns = count_from()

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        return self.stream_prompt(build_prompt(question, passages), deadline)

    def stream_prompt(self, prompt: Prompt, deadline: Deadline | None = None) -> Iterator[Piece]:
        deadline = deadline or Deadline(self._deadline_s)
        body = self._request(prompt)
        return self._endpoint.stream(lambda: self._pieces(body, deadline), deadline)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _request(self, prompt: Prompt) -> dict[str, object]:
        # Nemotron models reason at length unless the system prompt turns it off.
        prefix = "detailed thinking off\n\n" if "nemotron" in self._model.lower() else ""
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": prefix + prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "temperature": 0.0,
            "max_tokens": self._max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _pieces(self, body: dict[str, object], deadline: Deadline) -> Generator[Piece, None, None]:
        reasoning = ReasoningFilter()
        finish: str | None = None
        usage: Usage | None = None
        ended = False
        with nim_client.stream_response(
            self._clients[next(self._turns) % len(self._clients)], self._model, "chat/completions", body, deadline
        ) as response:
            for data in _data(response, self._model, deadline):
                if data == _DONE:
                    ended = True
                    break
                text, finish_now, usage_now = self._read(data)
                finish, usage = finish_now or finish, usage_now or usage
                if visible := reasoning.feed(text):
                    yield Piece(visible)
        if not (ended or finish):
            raise ProviderUnavailable(f"The response of NIM model {self._model} was cut off. Try again.")
        yield Piece(reasoning.finish(), finish or "stop", usage)

    def _read(self, data: str) -> tuple[str, str | None, Usage | None]:
        """Return text, finish reason and usage of an event. The usage is in an event without choices."""
        try:
            event = json.loads(data)
            if "error" in event:
                reason = nim_client.error_message(event["error"])
                raise ProviderUnavailable(f"NIM model {self._model} failed while responding: {reason}. Try again.")
            counts = event.get("usage")
            usage = Usage(int(counts["prompt_tokens"]), int(counts.get("completion_tokens") or 0)) if counts else None
            if not event.get("choices"):
                return "", None, usage
            choice = event["choices"][0]
            text, finish = (choice.get("delta") or {}).get("content") or "", choice.get("finish_reason")
            if not (isinstance(text, str) and isinstance(finish, str | None)):
                raise TypeError(type(text))
            return text, finish, usage
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable(
                f"NIM model {self._model} sent an invalid chat stream ({type(error).__name__}). "
                "If this persists, check that MINDSET_NIM_URL is the address of a NIM."
            ) from error


def _data(response: httpx.Response, model: str, deadline: Deadline) -> Iterator[str]:
    """Yield the data of each server-sent event as soon as its line is complete."""
    # Lines end with LF only. httpx's iter_lines also splits at U+2028, which JSON may contain unescaped.
    rest = b""
    for chunk in nim_client.read_chunks(response, model, deadline):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").decode("utf-8", errors="replace").strip()
    if rest.startswith(b"data:"):
        yield rest.removeprefix(b"data:").decode("utf-8", errors="replace").strip()
