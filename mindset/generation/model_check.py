"""Check at startup whether the models that knowledge bases name can be used."""

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

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ModelProblem:
    """A model that cannot be used."""

    model: str
    """`provider:model`."""
    knowledge_bases: tuple[str, ...]
    """The knowledge bases that name the model."""
    message: str
    """What is wrong, and what to do."""


def check_models(kbs: Iterable[KnowledgeBase], settings: Settings) -> list[ModelProblem]:
    """Return the models that are retired, unknown, unreachable or not permitted.

    `settings.model_check` limits which requests are sent."""
    kbs_by_model: dict[GeneratorSpec, list[str]] = defaultdict(list)
    for kb in kbs:
        for model in {*kb.generation.generators, *_other_models(kb)}:
            kbs_by_model[model].append(kb.name)
    problems = [*_nim_problems(kbs_by_model, settings), *_bedrock_problems(kbs_by_model, settings)]
    return [
        ModelProblem(f"{model.provider}:{model.model}", tuple(kbs_by_model[model]), message)
        for model, message in problems
    ]


def _other_models(kb: KnowledgeBase) -> Iterator[GeneratorSpec]:
    """Yield the judge and the reranker. Rerankers of Bedrock cannot be checked: they do not generate a token."""
    if judge := kb.guardrails.judge:
        yield judge
    if (reranking := kb.retrieval.rerank) and reranking.provider == "nim":
        yield GeneratorSpec(provider="nim", model=reranking.model)


def _nim_problems(models: Iterable[GeneratorSpec], settings: Settings) -> Iterator[tuple[GeneratorSpec, str]]:
    """Yield the models that the NIM does not list. Listing is free."""
    nim_models = [model for model in models if model.provider == "nim"]
    if not nim_models or settings.model_check == "off":
        return
    try:
        served = nim_client.list_models(settings.nim_url, settings.nim_api_key, _TIMEOUT_S)
    except MindsetError as error:
        yield from ((model, str(error)) for model in nim_models)
        return
    choices = f"{', '.join(served[:20])}{', ...' if served[20:] else ''}"
    for model in nim_models:
        if model.model not in served:
            message = (
                f"The NIM does not serve {model.model}: it is retired or misspelled. Set the knowledge base's model to "
                f"one of {choices}, or MINDSET_NIM_URL to the NIM that serves it."
            )
            yield model, message


def _bedrock_problems(models: Iterable[GeneratorSpec], settings: Settings) -> Iterator[tuple[GeneratorSpec, str]]:
    """Yield the models that cannot generate one token.

    No check is free: the control plane knows a model's lifecycle but not whether this account may use it, does not
    resolve all inference profiles, and requires additional permissions."""
    bedrock_models = [model for model in models if model.provider == "bedrock"]
    if not bedrock_models or settings.model_check != "invoke":
        return
    from mindset.providers import bedrock_client  # boto3 is slow to import

    try:
        client = bedrock_client.open_client(settings.bedrock_region, settings.bedrock_url, _TIMEOUT_S, connections=1)
    except MindsetError as error:
        yield from ((model, str(error)) for model in bedrock_models)
        return
    with closing(client):
        for model in bedrock_models:
            try:
                with bedrock_client.translate_errors(model.model):
                    client.converse(
                        modelId=model.model,
                        messages=[{"role": "user", "content": [{"text": "Say yes."}]}],
                        inferenceConfig={"maxTokens": 1},
                    )
            except MindsetError as error:
                yield model, str(error)
