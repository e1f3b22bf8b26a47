"""The API against its own description: schemathesis sends what the description allows, and what it does not."""

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
UNGUARDED = {"GET /livez", "GET /readyz", "GET /metrics"}


@dataclass(frozen=True)
class Served:
    """An API that demands a key, one key that may do everything, and what there is to ask for."""

    url: str
    headers: dict[str, str]
    kb: str
    known: dict[str, Any]
    """What parameters and fields of these names are, where they are to name something that exists."""


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
            asked = {"knowledge_base": corpus.name, "question": "How many rooms has the orchestra 1?"}
            answer = client.post("/v1/answers", json=asked).json()
            night = client.post(f"/v1/knowledge-bases/{corpus.name}/nights").json()
        known = {
            "kb": corpus.name, "knowledge_base": corpus.name, "model": corpus.name, "uri": "doc1.md", "number": 2,
            "answer": answer["id"], "question": asked["question"], "version": 2, "base": 1,
            "GET /v1/passages/{id}": answer["passages"][0]["chunk_ids"][0], "GET /v1/nights/{id}": night["id"],
        }  # fmt: skip
        yield Served(url, headers, corpus.name, known)


# What is said


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_does_who_may_and_how_it_fails(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in DESCRIPTION["tags"]}
    assert bool(operation.get("security")) == (name not in UNGUARDED)
    failures = {status for status in operation["responses"] if status[0] in "45"}
    if name not in UNGUARDED:
        assert failures >= {"401", "403", "429", "500", "503"}
    assert failures.isdisjoint({"4XX", "5XX", "default"})
    for parameter in operation.get("parameters", []):
        assert parameter.get("description") or parameter["schema"].get("title"), parameter


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert sorted(set(names)) == sorted(names)


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, operation in OPERATIONS.items():
        for kind, message in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
            for media_type, media in message.get("content", {}).items():
                if media_type.endswith("json"):
                    yield f"{name} {kind}", media


@pytest.mark.parametrize(("name", "media"), [pytest.param(*each, id=each[0]) for each in _messages()])
def test_every_message_has_an_example_that_its_schema_allows(name: str, media: dict[str, Any]) -> None:
    examples = [media["example"]] if "example" in media else [each["value"] for each in media["examples"].values()]
    schema = media["schema"] | {"components": DESCRIPTION["components"]}
    for example in examples:
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(example)


def test_no_word_of_the_description_is_pydantics_or_fastapis() -> None:
    assert not re.search("pydantic|fastapi|HTTPValidationError", str(DESCRIPTION), re.IGNORECASE)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_pages_of_the_description_load_nothing_from_elsewhere(page: str, served: Served) -> None:
    text = httpx.get(f"{served.url}{page}").text
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    assert loaded
    assert [httpx.get(f"{served.url}{path}").status_code for path in loaded] == [200] * len(loaded)


# What is done


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_description_allows_is_answered_as_described(name: str, served: Served) -> None:
    _check(name, GenerationMode.POSITIVE, served, known={}, examples=15)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_there_is_to_ask_for_is_answered_as_described(name: str, served: Served) -> None:
    _check(name, GenerationMode.POSITIVE, served, known=served.known, examples=15)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - UNGUARDED))
def test_what_the_description_does_not_allow_is_refused(name: str, served: Served) -> None:
    _check(name, GenerationMode.NEGATIVE, served, known={}, examples=15)


def _check(name: str, mode: GenerationMode, served: Served, known: dict[str, Any], examples: int) -> None:
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
        phases=[Phase.generate],  # a request that fails says enough, and a smaller one takes minutes to find
    )
    def check(case: schemathesis.Case[Any]) -> None:
        for given_values in (case.path_parameters, case.query, case.body):
            if isinstance(given_values, dict):
                given_values |= {key: value for key, value in known.items() if key in given_values}
                if "id" in given_values and name in known:
                    given_values["id"] = known[name]
        response = case.call(headers=served.headers)
        refused: list[Any] = (
            [positive_data_acceptance] if _refused_for_what_it_says(response.status_code, response.text) else []
        )
        case.validate_response(response, headers=served.headers, excluded_checks=refused)

    check()


def _refused_for_what_it_says(status: int, text: str) -> bool:
    """Whether a request has the right form and was refused all the same: a date that there is not, a cursor that was
    never given out, a question without a letter. No schema says that."""
    if status not in (400, 412, 422):
        return False
    return (
        not re.search(r"urn:mindset:InvalidRequest|invalid_json|missing_required|unknown_param", text)
        or "/where" in text
    )
