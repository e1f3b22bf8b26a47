"""Document filters, compared with an evaluation of the same filters in plain Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindset.application import Installation
from mindset.catalog.filters import Filter, parse_filter
from tests.corpus import Corpus, document, run_night

QUESTION = "How many rooms has the glacier?"

KEYS = ("team", "year", "tags", "updated", "odd 'key\"; --", "a.b")
ODD = "x'; DROP TABLE placement; --"
VALUES: list[Any] = [
    "search", "Search", ODD, "%s", "", "1", "true", "2026-01-05", "2026-01-05T10:00:00+02:00", "2026-01-05 09:00:00",
    "2026-13-05", 1, 1.0, 0, -3, 2.5, True, False, 2026, ["search", "web"], [1, "1"], ["2026-02-01", 7], [],
]  # fmt: skip
BOUNDS: list[Any] = [0, 1, 2.5, 2025, "2026-01-05", "2026-01-05T08:30:00Z", "2026-01-05 10:00", "2026-02-01"]


class ReferenceDocument:
    """The fields of a document, and the reference evaluation of filters on them."""

    def __init__(self, uri: str, title: str, metadata: dict[str, Any]) -> None:
        self.uri, self.title, self.metadata = uri, title, metadata

    def matches(self, condition: dict[str, Any]) -> bool:  # noqa: PLR0911  # one return for each kind of condition
        if "all" in condition:
            return all(map(self.matches, condition["all"]))
        if "any" in condition:
            return any(map(self.matches, condition["any"]))
        if "not" in condition:
            return not self.matches(condition["not"])
        name, expected = condition["field"].removeprefix("metadata."), condition.get("value", True)
        if condition["op"] == "exists":
            return bool((name in self.metadata) == expected)
        if name == condition["field"]:
            entries = [{"uri": self.uri, "title": self.title, "media_type": "text/markdown"}[name]]
        else:
            value = self.metadata.get(name, [])
            entries = value if isinstance(value, list) else [value]
        match condition["op"]:
            case "eq":
                return any(_same(entry, expected) for entry in entries)
            case "ne":
                return not any(_same(entry, expected) for entry in entries)
            case "in":
                return any(_same(entry, candidate) for entry in entries for candidate in expected)
            case "prefix":
                return str(entries[0]).startswith(expected)
        return any(_compare(entry, condition["op"], expected) for entry in entries)


def _same(one: Any, other: Any) -> bool:
    return _type(one) is _type(other) and bool(one == other)


def _type(value: Any) -> type:
    return float if type(value) is int else type(value)


def _compare(entry: Any, operator: str, bound: Any) -> bool:
    operators: dict[str, Callable[[Any, Any], bool]] = {
        "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b, "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b,
    }  # fmt: skip
    if isinstance(bound, str):
        moments = _moment(entry), _moment(bound)
        return None not in moments and operators[operator](*moments)
    return _type(entry) is float and operators[operator](entry, bound)


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


fields = st.sampled_from(["uri", "title", "media_type", *(f"metadata.{key}" for key in KEYS), "metadata.missing"])
metadata_fields = fields.filter(lambda name: name.startswith("metadata."))
scalars = st.sampled_from([value for value in VALUES if not isinstance(value, list)] + ["web", "text/markdown"])


def _fits(condition: dict[str, Any]) -> bool:
    values = condition["value"] if isinstance(condition["value"], list) else [condition["value"]]
    return condition["field"].startswith("metadata.") or all(isinstance(value, str) for value in values)


conditions = st.one_of(
    st.fixed_dictionaries({"field": fields, "op": st.sampled_from(["eq", "ne"]), "value": scalars}).filter(_fits),
    st.fixed_dictionaries(
        {"field": fields, "op": st.just("in"), "value": st.lists(scalars, min_size=1, max_size=4)}
    ).filter(_fits),
    st.fixed_dictionaries(
        {
            "field": st.sampled_from(["uri", "title"]),
            "op": st.just("prefix"),
            "value": st.sampled_from(["", "doc", "doc1", "%", "Page 1", "_oc", "\\"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "field": metadata_fields,
            "op": st.sampled_from(["lt", "lte", "gt", "gte"]),
            "value": st.sampled_from(BOUNDS),
        }
    ),
    st.fixed_dictionaries({"field": metadata_fields, "op": st.just("exists"), "value": st.booleans()}),
)


def _grouped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"all": some}),
        st.fixed_dictionaries({"any": some}),
        st.fixed_dictionaries({"not": inner}),
    )


expressions = st.one_of(conditions, _grouped(conditions), _grouped(st.one_of(conditions, _grouped(conditions))))


@pytest.fixture
def documents_with_metadata(installation: Installation, corpus: Corpus) -> list[ReferenceDocument]:
    """Released documents with metadata of every kind."""
    documents = []
    for number in range(48):
        values = [VALUES[(number * 7 + position * 5) % len(VALUES)] for position in range(len(KEYS))]
        metadata = {
            key: value
            for position, (key, value) in enumerate(zip(KEYS, values, strict=True))
            if number % (position + 2)
        }
        title = f"Page {number}"
        front = yaml.safe_dump({"title": title, **metadata}, allow_unicode=True)
        corpus.write(f"doc{number}.md", f"---\n{front}---\n{document(number, sections=1)}")
        documents.append(ReferenceDocument(f"doc{number}.md", title, metadata))
    corpus.define(retrieval={"candidates": 5})
    run_night(installation, corpus.name)
    return documents


def search_uris(installation: Installation, kb: str, where: Filter | None, limit: int = 50) -> list[str]:
    result = installation.searcher.search(installation.knowledge_base(kb), QUESTION, [], limit, where=where, join=False)
    assert result.degraded == ()
    return [passage.place.uri for passage in result.passages]


def test_filter_matches_its_evaluation_in_python(
    installation: Installation, corpus: Corpus, documents_with_metadata: list[ReferenceDocument]
) -> None:
    chunks = {document.uri: 0 for document in documents_with_metadata}
    with installation.catalog.reading() as connection:
        for (uri,) in connection.execute("SELECT uri FROM placement WHERE kb = %s", [corpus.name]).fetchall():
            chunks[uri] += 1

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(expressions)
    def check(raw: dict[str, Any]) -> None:
        expected = {document.uri for document in documents_with_metadata if document.matches(raw)}
        passages = search_uris(installation, corpus.name, parse_filter(raw))
        assert set(passages) <= expected, json.dumps(raw)
        # The search returns every matching chunk, because only the filter excludes documents.
        assert len(passages) == min(50, sum(chunks[uri] for uri in expected)), json.dumps(raw)

    check()


def test_equal_dates_in_different_time_zones_match(
    installation: Installation, corpus: Corpus, documents_with_metadata: list[ReferenceDocument]
) -> None:
    expected = {
        document.uri
        for document in documents_with_metadata
        if document.metadata.get("team") == "2026-01-05T10:00:00+02:00"
    }
    assert expected
    bounds = [{"field": "metadata.team", "op": op, "value": "2026-01-05T08:00:00Z"} for op in ("gte", "lte")]
    assert set(search_uris(installation, corpus.name, parse_filter({"all": bounds}))) == expected


def test_selective_filter_still_fills_the_limit(installation: Installation, corpus: Corpus) -> None:
    corpus.define(retrieval={"candidates": 5})
    for number in range(60):
        team = "---\nteam: search\n---\n" if number % 10 == 7 else ""
        corpus.write(f"doc{number}.md", team + document(number))
    run_night(installation, corpus.name)
    where = parse_filter({"field": "metadata.team", "op": "eq", "value": "search"})
    # The question is about a document that the filter excludes, and there are few candidates.
    passages = search_uris(installation, corpus.name, where, 10)
    assert len(passages) == 10
    assert {int(uri.removeprefix("doc").removesuffix(".md")) % 10 for uri in passages} == {7}


def test_filter_does_not_reveal_restricted_documents(installation: Installation, corpus: Corpus) -> None:
    corpus.write("open.md", "---\nteam: search\n---\n" + document(1))
    corpus.write("closed.md", "---\nteam: search\nacl: [staff]\n---\n" + document(11))
    run_night(installation, corpus.name)
    for raw in (
        {"field": "metadata.team", "op": "exists"},
        {"field": "uri", "op": "eq", "value": "closed.md"},
        {"any": [{"field": "metadata.team", "op": "ne", "value": "x"}, {"field": "uri", "op": "prefix", "value": ""}]},
        {"not": {"field": "metadata.none", "op": "exists"}},
    ):
        assert "closed.md" not in search_uris(installation, corpus.name, parse_filter(raw))


def test_filter_without_matches_returns_no_passages(
    installation: Installation, corpus: Corpus, documents_with_metadata: list[ReferenceDocument]
) -> None:
    where = parse_filter({"field": "metadata.team", "op": "eq", "value": ODD + "?"})
    assert search_uris(installation, corpus.name, where) == []
    with installation.catalog.reading() as connection:
        assert connection.execute("SELECT count(*) FROM placement").fetchall()[0][0] > 0


def test_search_over_http_applies_the_filter(corpus: Corpus, search_with_filter: Callable[[Any], Any]) -> None:
    response = search_with_filter({"field": "metadata.year", "op": "gte", "value": 2026})
    assert response.status_code == 200, response.text
    assert {place["uri"] for passage in response.json()["passages"] for place in passage["places"]} == {"new.md"}
    invalid = search_with_filter({"all": [{"field": "metadata.year", "op": "gte", "value": "soon"}]})
    assert invalid.status_code == 422
    assert "where: /all/0/value: " in invalid.json()["detail"]


@pytest.fixture
def search_with_filter(installation: Installation, corpus: Corpus) -> Iterator[Callable[[Any], Any]]:
    """Return a function that searches over HTTP with a filter."""
    from fastapi.testclient import TestClient

    from api.app import create_app

    for name, year in (("old", date(2025, 1, 1)), ("new", date(2026, 1, 1))):
        corpus.write(f"{name}.md", f"---\nyear: {year.year}\n---\n" + document(1))
    run_night(installation, corpus.name)
    with TestClient(create_app(installation.settings), base_url="http://127.0.0.1") as client:
        yield lambda where: client.post(
            "/v1/search",
            content=json.dumps({"knowledge_base": corpus.name, "question": QUESTION, "where": where}),
            headers={"content-type": "application/json"},
        )
