"""Random requests of two tenants and five groups never return text that the caller may not read.

The environment variable MINDSET_LEAK_REQUESTS sets the number of requests, for example 10000.
"""

from __future__ import annotations

import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.transactions import rows
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from tests.corpus import Corpus, run_night
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.served import api_at

REQUESTS = int(os.environ.get("MINDSET_LEAK_REQUESTS", "400"))
TENANTS = ("north", "south")
GROUPS = ("engineers", "lawyers", "board", "sales", "interns")
_MARK = re.compile(r"mark-[a-z]+-[a-z]+-\d")


@dataclass(frozen=True)
class Reader:
    headers: dict[str, str]
    tenant: str
    groups: frozenset[str]

    def may_read(self, mark: str) -> bool:
        _, tenant, group, _ = mark.split("-")
        return tenant == self.tenant and (group == "all" or group in self.groups)


def marks_of(tenant: str) -> dict[str, str]:
    """Return {URI: mark}. The mark in the text of a document names its readers."""
    return {
        f"{group}{number}.md": f"mark-{tenant}-{group}-{number}" for group in ("all", *GROUPS) for number in range(2)
    }


@pytest.mark.timeout(1_200)
def test_no_response_contains_text_that_the_caller_may_not_read(  # noqa: PLR0915  # one scenario
    settings: Settings, installation: Installation, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpora = dict(
        zip(TENANTS, (corpus, Corpus(tmp_path_factory.mktemp("other") / "of", settings.knowledge_bases)), strict=True)
    )
    for tenant, tenant_corpus in corpora.items():
        tenant_corpus.define(audience=[f"tenant:{tenant}"], retrieval={"passages": 6})
        for uri, mark in marks_of(tenant).items():
            group = mark.split("-")[2]
            acl = f"[{'tenant:' + tenant if group == 'all' else group}]"
            text = f"# The report {mark}\n\nThe quarterly report of the company is called {mark} and has forty pages."
            tenant_corpus.write(uri, f"---\nacl: {acl}\ntopic: {mark}\n---\n{text}\n")
        run_night(installation, tenant_corpus.name)
    rng = random.Random(1)
    readers = []
    for tenant in TENANTS:
        for _ in range(5):
            groups = frozenset(rng.sample(GROUPS, rng.randint(0, 3)))
            scopes = (Scope.ASK, Scope.SEARCH, Scope.READ)
            key = make_key(installation, *scopes, principals=(f"tenant:{tenant}", *groups))
            readers.append(Reader(bearer(key), tenant, groups))
    with installation.catalog.reading() as connection:
        chunks = [chunk for (chunk,) in rows(connection, "SELECT id FROM chunk")]
    guarded = settings.model_copy(
        update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER), "rate_limit": "1000000/minute"}
    )
    received: set[tuple[int, str]] = set()
    taken_down: set[str] = set()

    def send_request(client: httpx.Client, number: int) -> list[str]:
        request_rng = random.Random(number)
        reader, kb = request_rng.choice(readers), corpora[request_rng.choice(TENANTS)].name
        mark = request_rng.choice(list(marks_of(request_rng.choice(TENANTS)).values()))
        question = request_rng.choice(
            ["What is the quarterly report called?", f"How many pages has {mark}?", "the report"]
        )
        uri, chunk = request_rng.choice(list(marks_of("north"))), request_rng.choice(chunks)
        where = {"field": "metadata.topic", "op": "eq", "value": mark}
        search_body = {"knowledge_base": kb, "question": question, "limit": request_rng.choice([1, 6, 50])}
        chat = {"model": kb, "messages": [{"role": "user", "content": question}]}
        tool = {
            "name": request_rng.choice(["search", "ask"]),
            "arguments": {"knowledge_base": kb, "question": question},
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
        accepts = {"accept": "application/json, text/event-stream"}
        already_taken_down = set(taken_down)
        method, path, body = request_rng.choice(
            [
                ("POST", "/v1/search", search_body),
                ("POST", "/v1/search", search_body | {"where": where}),
                ("POST", "/v1/answers", search_body),
                ("POST", "/v1/answers", search_body | {"stream": True}),
                ("POST", "/v1/chat/completions", chat | {"stream": request_rng.random() < 0.5}),
                ("POST", "/mcp", call),
                ("GET", f"/v1/documents?knowledge_base={kb}&limit=50", None),
                ("GET", f"/v1/documents/{uri}?knowledge_base={kb}", None),
                ("GET", f"/v1/passages/{chunk}?knowledge_base={kb}", None),
                ("GET", f"/v1/knowledge-bases/{kb}/versions/1/difference", None),
                ("GET", "/v1/knowledge-bases", None),
                ("GET", "/v1/models", None),
            ]
        )
        extra = accepts | {"mcp-protocol-version": "2025-06-18"} if path == "/mcp" else {}
        response = client.request(method, path, json=body, headers=reader.headers | extra)
        assert response.status_code < 500, response.text
        marks = set(_MARK.findall(response.text.replace("\\", "")))
        sent = json.dumps(body)  # an answer may quote the question
        leaks = [f"{path}: {mark}" for mark in marks if not reader.may_read(mark) and mark not in sent]
        leaks += [f"{path}: {mark} after it was taken down" for mark in marks & already_taken_down if mark not in sent]
        other = corpora[TENANTS[1 - TENANTS.index(reader.tenant)]].name
        leaks += (
            [f"{path}: names {other}"] if other in response.text and other not in sent and other not in path else []
        )
        received.update((readers.index(reader), mark) for mark in marks)
        return leaks

    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(4) as threads:
        leaks = [
            leak
            for request_leaks in threads.map(lambda number: send_request(client, number), range(REQUESTS))
            for leak in request_leaks
        ]
        for tenant, tenant_corpus in corpora.items():
            with installation.catalog.writing() as connection:
                take_down(connection, tenant_corpus.name, "all0.md", "test")
            taken_down.add(f"mark-{tenant}-all-0")
        after = threads.map(lambda number: send_request(client, number), range(REQUESTS, REQUESTS + REQUESTS // 4))
        leaks += [leak for request_leaks in after for leak in request_leaks]
    assert leaks == []
    # Every reader has received some mark. Empty responses would not leak anything either.
    assert {reader for reader, _ in received} == set(range(len(readers)))
