"""Open the generators and judges that a knowledge base's configuration names."""

from __future__ import annotations

from mindset.config.generation_options import Generation, GeneratorSpec
from mindset.config.settings import Settings
from mindset.generation.endpoint import Endpoint, EndpointLimits, ProviderState
from mindset.generation.fallback import FallbackGenerator
from mindset.generation.judge import Judge
from mindset.generation.protocol import Generator, LanguageModel
from mindset.providers.opened import OpenedOnce

# A judge replies with one word, but some models reason aloud before it.
_JUDGE_TOKENS = 256


class GeneratorRegistry:
    """The generators of a process, opened at their first use. Generators of the same model share its endpoint.

    Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened = OpenedOnce[tuple[GeneratorSpec, int, float], LanguageModel](lambda key: self._open_model(*key))
        self._endpoints: dict[str, Endpoint] = {}

    def generator(self, generation: Generation, first: str | None = None) -> FallbackGenerator:
        """Return the route of a configuration. `first` names a provider of the route to try before the others.

        With `first="extractive"`, which is always possible, no model is used."""
        if first == "extractive":
            return FallbackGenerator([self._generator(GeneratorSpec(), generation)], generation.deadline_s)
        specs = sorted(generation.generators, key=lambda spec: spec.provider != first)
        return FallbackGenerator([self._generator(spec, generation) for spec in specs], generation.deadline_s)

    def judge(self, judge: GeneratorSpec, generation: Generation) -> Judge:
        """Return the judge of a configuration. Its time is part of the answer's deadline."""
        return Judge(self._model(judge, _JUDGE_TOKENS, generation.deadline_s))

    @property
    def states(self) -> list[ProviderState]:
        """The states of all models used so far."""
        return [endpoint.state for endpoint in list(self._endpoints.values())]

    def close(self) -> None:
        """Close all opened models."""
        self._opened.close()

    def _generator(self, spec: GeneratorSpec, generation: Generation) -> Generator:
        if spec.provider == "extractive":
            from mindset.generation.extractive import ExtractiveGenerator

            return ExtractiveGenerator()
        return self._model(spec, generation.max_tokens, generation.deadline_s)

    def _model(self, spec: GeneratorSpec, max_tokens: int, deadline_s: float) -> LanguageModel:
        return self._opened.get((spec, max_tokens, deadline_s), deadline_s)

    def _open_model(self, spec: GeneratorSpec, max_tokens: int, deadline_s: float) -> LanguageModel:
        settings, endpoint = self._settings, self._endpoint(spec)
        if spec.provider == "nim":
            from mindset.generation.nim import NimGenerator

            return NimGenerator(
                settings.nim_url, spec.model, settings.nim_api_key, endpoint=endpoint,
                max_tokens=max_tokens, deadline_s=deadline_s,
            )  # fmt: skip
        from mindset.generation.bedrock import BedrockGenerator

        return BedrockGenerator(
            spec.model, region=settings.bedrock_region, url=settings.bedrock_url, endpoint=endpoint,
            max_tokens=max_tokens, deadline_s=deadline_s, cites=spec.citations == "native",
        )  # fmt: skip

    def _endpoint(self, spec: GeneratorSpec) -> Endpoint:
        name, settings = f"{spec.provider}:{spec.model}", self._settings
        limits = EndpointLimits(
            concurrency=settings.provider_concurrency,
            queue_size=settings.provider_queue,
            first_token_timeout_s=settings.first_token_timeout_s,
            inter_token_timeout_s=settings.inter_token_timeout_s,
        )
        return self._endpoints.setdefault(name, Endpoint(name, limits))
