"""Whether the models that knowledge bases name can be used, asked before somebody waits for an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from mindset.config.generation_options import GeneratorSpec
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.settings import Settings
from mindset.errors import MindsetError
from mindset.providers import nim_client

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class ModelProblem:
    """A model that cannot be used, with the knowledge bases that name it."""

    model: str
    """`provider:model`."""
    knowledge_bases: tuple[str, ...]
    message: str
    """What is wrong, and what to do."""


def check_models(kbs: Iterable[KnowledgeBase], settings: Settings) -> list[ModelProblem]:
    """The models that are retired, unknown, not reached or not allowed, as far as `settings.model_check` lets us ask."""
    naming: dict[GeneratorSpec, list[str]] = defaultdict(list)
    for kb in kbs:
        for writer in {*kb.generation.generators, *_beside(kb)}:
            naming[writer].append(kb.name)
    found = [*_of_nim(naming, settings), *_of_bedrock(naming, settings)]
    return [ModelProblem(f"{each.provider}:{each.model}", tuple(naming[each]), what) for each, what in found]


def _beside(kb: KnowledgeBase) -> Iterator[GeneratorSpec]:
    """Who else is asked while a question is answered; a reranker of Bedrock cannot be asked for a token."""
    if judge := kb.guardrails.judge:
        yield judge
    if (reranking := kb.retrieval.rerank) and reranking.provider == "nim":
        yield GeneratorSpec(provider="nim", model=reranking.model)


def _of_nim(writers: Iterable[GeneratorSpec], settings: Settings) -> Iterator[tuple[GeneratorSpec, str]]:
    """Whom the NIM does not list: it costs nothing to ask."""
    ours = [each for each in writers if each.provider == "nim"]
    if not ours or settings.model_check == "off":
        return
    try:
        served = nim_client.list_models(settings.nim_url, settings.nim_api_key, _PATIENCE_S)
    except MindsetError as failed:
        yield from ((each, str(failed)) for each in ours)
        return
    for each in ours:
        if each.model not in served:
            yield (
                each,
                (
                    f"The NIM does not serve {each.model}: it is retired, or never was there. Set the knowledge base's "
                    f"model to one of {', '.join(served[:20])}{', ...' if served[20:] else ''}, or MINDSET_NIM_URL to its NIM."
                ),
            )


def _of_bedrock(writers: Iterable[GeneratorSpec], settings: Settings) -> Iterator[tuple[GeneratorSpec, str]]:
    """Whom one token cannot be had of.

    Nothing that is free tells so: the control plane knows a model's lifecycle and not whether this account may use it,
    does not resolve every inference profile, and needs permissions that answering does not."""
    ours = [each for each in writers if each.provider == "bedrock"]
    if not ours or settings.model_check != "invoke":
        return
    from mindset.providers import bedrock_client  # boto3 takes a while to load

    try:
        client = bedrock_client.open_client(settings.bedrock_region, settings.bedrock_url, _PATIENCE_S, connections=1)
    except MindsetError as failed:
        yield from ((each, str(failed)) for each in ours)
        return
    with closing(client):
        for each in ours:
            try:
                with bedrock_client.translate_errors(each.model):
                    client.converse(
                        modelId=each.model,
                        messages=[{"role": "user", "content": [{"text": "Say yes."}]}],
                        inferenceConfig={"maxTokens": 1},
                    )
            except MindsetError as failed:
                yield each, str(failed)
