"""From a knowledge base's configuration to who writes its answers."""

from __future__ import annotations

import threading

from mindset.config.generation_options import Generation, GeneratorSpec
from mindset.config.settings import Settings
from mindset.generation.endpoint import Endpoint, EndpointLimits, ProviderState
from mindset.generation.fallback import FallbackGenerator
from mindset.generation.judge import Judge
from mindset.generation.protocol import Generator, LanguageModel

# Of a judge's answer, which is one word; some models think aloud before it.
_JUDGING_TOKENS = 256


class GeneratorRegistry:
    """The generators of one process, opened at their first use; whoever asks the same model shares its endpoint.

    Thread-safe. Close it by `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._opened: dict[tuple[GeneratorSpec, int, float], LanguageModel] = {}
        self._endpoints: dict[str, Endpoint] = {}

    def generator(self, generation: Generation, first: str | None = None) -> FallbackGenerator:
        """Who is asked, in order; `first` names the provider that is asked before the others, where it is in the route.

        `extractive` is always possible, and never fails: then no model is asked."""
        if first == "extractive":
            return FallbackGenerator([self._generator(GeneratorSpec(), generation)], generation.deadline_s)
        writers = sorted(generation.generators, key=lambda each: each.provider != first)
        return FallbackGenerator([self._generator(writer, generation) for writer in writers], generation.deadline_s)

    def judge(self, judge: GeneratorSpec, generation: Generation) -> Judge:
        """Who judges the answers; its time is part of that of an answer."""
        return Judge(self._model(judge, _JUDGING_TOKENS, generation.deadline_s))

    @property
    def states(self) -> list[ProviderState]:
        """Of every model that was asked."""
        # Without the lock: whoever opens one may wait for a store of secrets, and metrics are asked for all the time.
        return [each.state for each in list(self._endpoints.values())]

    def close(self) -> None:
        """Close what was opened."""
        for each in self._opened.values():
            each.close()

    def _generator(self, writer: GeneratorSpec, generation: Generation) -> Generator:
        if writer.provider == "extractive":
            from mindset.generation.extractive import ExtractiveGenerator

            return ExtractiveGenerator()
        return self._model(writer, generation.max_tokens, generation.deadline_s)

    def _model(self, writer: GeneratorSpec, max_tokens: int, deadline_s: float) -> LanguageModel:
        key = (writer, max_tokens, deadline_s)
        with self._opening:
            if key not in self._opened:
                self._opened[key] = self._opened_anew(*key)
            return self._opened[key]

    def _opened_anew(self, writer: GeneratorSpec, max_tokens: int, deadline_s: float) -> LanguageModel:
        settings, endpoint = self._settings, self._endpoint(writer)
        if writer.provider == "nim":
            from mindset.generation.nim import NimGenerator

            return NimGenerator(
                settings.nim_url, writer.model, settings.nim_api_key, endpoint=endpoint,
                max_tokens=max_tokens, deadline_s=deadline_s,
            )  # fmt: skip
        from mindset.generation.bedrock import BedrockGenerator

        return BedrockGenerator(
            writer.model, region=settings.bedrock_region, url=settings.bedrock_url, endpoint=endpoint,
            max_tokens=max_tokens, deadline_s=deadline_s, cites=writer.citations == "native",
        )  # fmt: skip

    def _endpoint(self, writer: GeneratorSpec) -> Endpoint:
        name, settings = f"{writer.provider}:{writer.model}", self._settings
        limits = EndpointLimits(
            concurrency=settings.provider_concurrency,
            queue_size=settings.provider_queue,
            first_token_timeout_s=settings.first_token_timeout_s,
            inter_token_timeout_s=settings.inter_token_timeout_s,
        )
        return self._endpoints.setdefault(name, Endpoint(name, limits))
