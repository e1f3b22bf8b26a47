"""The API against its own description: schemathesis sends what the description allows, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from api.app import create_app
from mindset.installation import Installation
from mindset.settings import Settings
from tests.corpus import Corpus, run_night

OPERATIONS = [
    "POST /v1/search",
    "POST /v1/answers",
    "GET /v1/knowledge-bases",
    "GET /v1/knowledge-bases/{kb}",
    "GET /v1/knowledge-bases/{kb}/releases",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
]


def test_the_list_below_is_the_whole_description(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    assert sorted(OPERATIONS) == sorted(f"{method.upper()} {path}" for path, each in paths.items() for method in each)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_answers_as_described(
    operation: str, settings: Settings, installation: Installation, corpus: Corpus
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    method, path = operation.split()
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(settings))

    @given(case=schema[path][method].as_strategy())
    @hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate()

    check()
