"""What is Bedrock's own: stop reasons and the names of errors in the stream."""

from __future__ import annotations

from contextlib import closing

import pytest

from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.generation.bedrock import BedrockGenerator
from mindset.generation.protocol import Piece
from tests.providers import ProviderServer, error_in_stream
from tests.unit.generation.passages import passage

MODEL = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-v1:0"


def _ask(provider: ProviderServer, model: str = MODEL) -> list[Piece]:
    generator = provider.clients.enter_context(closing(BedrockGenerator(model, url=provider.url, deadline_s=5.0)))
    return list(generator.stream("Who hoots?", [passage("Owls hoot.")]))


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "guardrail"),
        ("a_new_one", "a_new_one"),
    ],
)
def test_stop_reasons_are_told_in_one_vocabulary(provider: ProviderServer, stop: str, finish: str) -> None:
    provider.stop_reason = stop
    assert _ask(provider)[-1].finish_reason == finish


@pytest.mark.parametrize(
    "name",
    [
        "internalServerException",
        "modelStreamErrorException",
        "serviceUnavailableException",
        "throttlingException",
    ],
)
def test_errors_in_the_stream_that_may_pass_are_unavailable(provider: ProviderServer, name: str) -> None:
    provider.fail("/converse-stream", error_in_stream(2, name))
    with pytest.raises(ProviderUnavailable, match=name[1:]):
        _ask(provider)


def test_a_validation_error_in_the_stream_is_a_refusal(provider: ProviderServer) -> None:
    provider.fail("/converse-stream", always=error_in_stream(0, "validationException"))
    with pytest.raises(ProviderRejected, match="ValidationException"):
        _ask(provider)
    assert len(provider.requests) == 1


def test_a_retired_model_is_named_with_what_to_configure(provider: ProviderServer) -> None:
    with pytest.raises(ProviderRejected, match=r"retired-claude.*end of its life.*Set the knowledge base's model"):
        _ask(provider, "retired-claude")
