"""The API compared with its OpenAPI description: schemathesis sends requests that the description allows and others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create_app
from local_stack.addresses import Addresses
from mindset.application import open_installation
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from tests.conftest import migrated_database
from tests.corpus import Corpus, document, run_night
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.providers.prefect import PrefectServer
from tests.served import api_at

DESCRIPTION: dict[str, Any] = create_app(
    Settings(postgres_url=SecretStr("postgresql://127.0.0.1:1/none"), redis_url=None)
).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
}
PUBLIC_OPERATIONS = {"GET /livez", "GET /readyz", "GET /metrics"}


@dataclass(frozen=True)
class Served:
    """An API that requires a key, headers with an administrator's key, and identifiers of existing objects."""

    url: str
    headers: dict[str, str]
    kb: str
    existing: dict[str, Any]
    """{name of a parameter, field or operation: value that refers to an existing object}"""


@pytest.fixture(scope="module")
def served(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("served")
    (directory / "knowledge_bases").mkdir()
    corpus = Corpus(directory / "documents", directory / "knowledge_bases")
    with ExitStack() as opened:
        prefect = opened.enter_context(PrefectServer())
        settings = Settings(
            directory=directory,
            knowledge_bases=directory / "knowledge_bases",
            postgres_url=SecretStr(opened.enter_context(migrated_database(stack))),
            chroma_url=stack.chroma_url,
            redis_url=SecretStr(stack.redis_url or ""),
            prefect_api_url=prefect.url,
            api_access="required",
            api_key_pepper=SecretStr(PEPPER),
            rate_limit="1000000/minute",
            rate_limit_rejected="1000000/minute",
        )
        installation = opened.enter_context(open_installation(settings))
        corpus.fill(3)
        run_night(installation, corpus.name)
        corpus.write("doc4.md", document(4))
        run_night(installation, corpus.name)
        url = opened.enter_context(api_at(settings))
        headers = {"Authorization": bearer(make_key(installation, Scope.ADMIN))["authorization"]}
        with httpx.Client(base_url=url, headers=headers) as client:
            question_body = {"knowledge_base": corpus.name, "question": "How many rooms has the orchestra 1?"}
            answer = client.post("/v1/answers", json=question_body).json()
            night = client.post(f"/v1/knowledge-bases/{corpus.name}/nights").json()
        existing = {
            "kb": corpus.name, "knowledge_base": corpus.name, "model": corpus.name, "uri": "doc1.md", "number": 2,
            "answer": answer["id"], "question": question_body["question"], "version": 2, "base": 1,
            "GET /v1/passages/{id}": answer["passages"][0]["chunk_ids"][0], "GET /v1/nights/{id}": night["id"],
        }  # fmt: skip
        yield Served(url, headers, corpus.name, existing)


# The description


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_documents_its_purpose_security_and_errors(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in DESCRIPTION["tags"]}
    assert bool(operation.get("security")) == (name not in PUBLIC_OPERATIONS)
    failures = {status for status in operation["responses"] if status[0] in "45"}
    if name not in PUBLIC_OPERATIONS:
        assert failures >= {"401", "403", "429", "500", "503"}
    assert failures.isdisjoint({"4XX", "5XX", "default"})
    for parameter in operation.get("parameters", []):
        assert parameter.get("description") or parameter["schema"].get("title"), parameter


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert sorted(set(names)) == sorted(names)


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, operation in OPERATIONS.items():
        for kind, message in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
            for media_type, media in message.get("content", {}).items():
                if media_type.endswith("json"):
                    yield f"{name} {kind}", media


@pytest.mark.parametrize(("name", "media"), [pytest.param(*message, id=message[0]) for message in _messages()])
def test_every_message_has_an_example_that_matches_its_schema(name: str, media: dict[str, Any]) -> None:
    examples = [media["example"]] if "example" in media else [named["value"] for named in media["examples"].values()]
    schema = media["schema"] | {"components": DESCRIPTION["components"]}
    for example in examples:
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(example)


def test_description_does_not_mention_pydantic_or_fastapi() -> None:
    assert not re.search("pydantic|fastapi|HTTPValidationError", str(DESCRIPTION), re.IGNORECASE)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_documentation_pages_load_only_resources_of_the_api(page: str, served: Served) -> None:
    text = httpx.get(f"{served.url}{page}").text
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    assert loaded
    assert [httpx.get(f"{served.url}{path}").status_code for path in loaded] == [200] * len(loaded)


# The behaviour


@pytest.mark.parametrize("name", OPERATIONS)
def test_valid_request_is_answered_as_described(name: str, served: Served) -> None:
    _check(name, GenerationMode.POSITIVE, served, existing={}, examples=15)


@pytest.mark.parametrize("name", OPERATIONS)
def test_valid_request_for_existing_objects_is_answered_as_described(name: str, served: Served) -> None:
    _check(name, GenerationMode.POSITIVE, served, existing=served.existing, examples=15)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - PUBLIC_OPERATIONS))
def test_invalid_request_is_rejected(name: str, served: Served) -> None:
    _check(name, GenerationMode.NEGATIVE, served, existing={}, examples=15)


def _check(name: str, mode: GenerationMode, served: Served, existing: dict[str, Any], examples: int) -> None:
    method, path = name.split()
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.config.update(base_url=served.url)

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        phases=[Phase.generate],  # no shrinking: it takes minutes, and a failing request is clear enough
    )
    def check(case: schemathesis.Case[Any]) -> None:
        for values in (case.path_parameters, case.query, case.body):
            if isinstance(values, dict):
                values |= {key: value for key, value in existing.items() if key in values}
                if "id" in values and name in existing:
                    values["id"] = existing[name]
        response = case.call(headers=served.headers)
        excluded: list[Any] = (
            [positive_data_acceptance] if _rejected_for_its_values(response.status_code, response.text) else []
        )
        case.validate_response(response, headers=served.headers, excluded_checks=excluded)

    check()


def _rejected_for_its_values(status: int, text: str) -> bool:
    """Whether a request that matches the schema was rejected for its values: a date that does not exist, a cursor that
    was never issued, a question without letters. No schema can express these rules."""
    if status not in (400, 412, 422):
        return False
    return (
        not re.search(r"urn:mindset:InvalidRequest|invalid_json|missing_required|unknown_param", text)
        or "/where" in text
    )
