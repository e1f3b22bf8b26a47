"""Two tenants, five groups, every way to read: nobody is ever told what they may not read. MINDSET_LEAK_REQUESTS=10000."""

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
    """{URI: mark}; what a document says names who may read it."""
    return {
        f"{group}{number}.md": f"mark-{tenant}-{group}-{number}" for group in ("all", *GROUPS) for number in range(2)
    }


@pytest.mark.timeout(1_200)
def test_nobody_is_told_what_they_may_not_read(  # noqa: PLR0915  # one story
    settings: Settings, installation: Installation, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpora = dict(
        zip(TENANTS, (corpus, Corpus(tmp_path_factory.mktemp("other") / "of", settings.knowledge_bases)), strict=True)
    )
    for tenant, each in corpora.items():
        each.define(audience=[f"tenant:{tenant}"], retrieval={"passages": 6})
        for uri, mark in marks_of(tenant).items():
            group = mark.split("-")[2]
            acl = f"[{'tenant:' + tenant if group == 'all' else group}]"
            text = f"# The report {mark}\n\nThe quarterly report of the company is called {mark} and has forty pages."
            each.write(uri, f"---\nacl: {acl}\ntopic: {mark}\n---\n{text}\n")
        run_night(installation, each.name)
    choose = random.Random(1)
    readers = []
    for tenant in TENANTS:
        for _ in range(5):
            groups = frozenset(choose.sample(GROUPS, choose.randint(0, 3)))
            scopes = (Scope.ASK, Scope.SEARCH, Scope.READ)
            key = make_key(installation, *scopes, principals=(f"tenant:{tenant}", *groups))
            readers.append(Reader(bearer(key), tenant, groups))
    with installation.catalog.reading() as connection:
        chunks = [chunk for (chunk,) in rows(connection, "SELECT id FROM chunk")]
    guarded = settings.model_copy(
        update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER), "rate_limit": "1000000/minute"}
    )
    told: set[tuple[int, str]] = set()
    gone: set[str] = set()

    def once(client: httpx.Client, number: int) -> list[str]:
        dice = random.Random(number)
        reader, kb = dice.choice(readers), corpora[dice.choice(TENANTS)].name
        mark = dice.choice(list(marks_of(dice.choice(TENANTS)).values()))
        question = dice.choice(["What is the quarterly report called?", f"How many pages has {mark}?", "the report"])
        uri, chunk = dice.choice(list(marks_of("north"))), dice.choice(chunks)
        where = {"field": "metadata.topic", "op": "eq", "value": mark}
        asked = {"knowledge_base": kb, "question": question, "limit": dice.choice([1, 6, 50])}
        chat = {"model": kb, "messages": [{"role": "user", "content": question}]}
        tool = {"name": dice.choice(["search", "ask"]), "arguments": {"knowledge_base": kb, "question": question}}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
        accepts = {"accept": "application/json, text/event-stream"}
        withdrawn = set(gone)
        method, path, body = dice.choice(
            [
                ("POST", "/v1/search", asked),
                ("POST", "/v1/search", asked | {"where": where}),
                ("POST", "/v1/answers", asked),
                ("POST", "/v1/answers", asked | {"stream": True}),
                ("POST", "/v1/chat/completions", chat | {"stream": dice.random() < 0.5}),
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
        seen = set(_MARK.findall(response.text.replace("\\", "")))
        said = json.dumps(body)  # an answer may quote the question
        leaks = [f"{path}: {each}" for each in seen if not reader.may_read(each) and each not in said]
        leaks += [f"{path}: {each} after it was taken down" for each in seen & withdrawn if each not in said]
        other = corpora[TENANTS[1 - TENANTS.index(reader.tenant)]].name
        leaks += (
            [f"{path}: names {other}"] if other in response.text and other not in said and other not in path else []
        )
        told.update((readers.index(reader), each) for each in seen)
        return leaks

    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(4) as threads:
        leaks = [leak for found in threads.map(lambda number: once(client, number), range(REQUESTS)) for leak in found]
        for tenant, each in corpora.items():
            with installation.catalog.writing() as connection:
                take_down(connection, each.name, "all0.md", "test")
            gone.add(f"mark-{tenant}-all-0")
        after = threads.map(lambda number: once(client, number), range(REQUESTS, REQUESTS + REQUESTS // 4))
        leaks += [leak for found in after for leak in found]
    assert leaks == []
    # And everybody was told something: silence would leak nothing, too.
    assert {reader for reader, _ in told} == set(range(len(readers)))
