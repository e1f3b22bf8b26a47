"""Filters on documents, against plain Python over the same documents."""

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


class Described:
    """A document's fields, and what a filter says of them in Python."""

    def __init__(self, uri: str, title: str, metadata: dict[str, Any]) -> None:
        self.uri, self.title, self.metadata = uri, title, metadata

    def holds(self, part: dict[str, Any]) -> bool:  # noqa: PLR0911  # a line for each kind of part
        if "all" in part:
            return all(map(self.holds, part["all"]))
        if "any" in part:
            return any(map(self.holds, part["any"]))
        if "not" in part:
            return not self.holds(part["not"])
        name, wanted = part["field"].removeprefix("metadata."), part.get("value", True)
        if part["op"] == "exists":
            return bool((name in self.metadata) == wanted)
        if name == part["field"]:
            entries = [{"uri": self.uri, "title": self.title, "media_type": "text/markdown"}[name]]
        else:
            found = self.metadata.get(name, [])
            entries = found if isinstance(found, list) else [found]
        match part["op"]:
            case "eq":
                return any(_same(each, wanted) for each in entries)
            case "ne":
                return not any(_same(each, wanted) for each in entries)
            case "in":
                return any(_same(each, one) for each in entries for one in wanted)
            case "prefix":
                return str(entries[0]).startswith(wanted)
        return any(_beside(each, part["op"], wanted) for each in entries)


def _same(one: Any, other: Any) -> bool:
    return _type(one) is _type(other) and bool(one == other)


def _type(value: Any) -> type:
    return float if type(value) is int else type(value)


def _beside(entry: Any, sign: str, bound: Any) -> bool:
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b, "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b,
    }  # fmt: skip
    if isinstance(bound, str):
        moments = _moment(entry), _moment(bound)
        return None not in moments and compare[sign](*moments)
    return _type(entry) is float and compare[sign](entry, bound)


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


fields = st.sampled_from(["uri", "title", "media_type", *(f"metadata.{key}" for key in KEYS), "metadata.missing"])
metadata_fields = fields.filter(lambda name: name.startswith("metadata."))
scalars = st.sampled_from([each for each in VALUES if not isinstance(each, list)] + ["web", "text/markdown"])


def _fits(condition: dict[str, Any]) -> bool:
    values = condition["value"] if isinstance(condition["value"], list) else [condition["value"]]
    return condition["field"].startswith("metadata.") or all(isinstance(each, str) for each in values)


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
def described(installation: Installation, corpus: Corpus) -> list[Described]:
    """Documents with metadata of every kind, released."""
    made = []
    for number in range(48):
        values = [VALUES[(number * 7 + at * 5) % len(VALUES)] for at in range(len(KEYS))]
        metadata = {key: value for at, (key, value) in enumerate(zip(KEYS, values, strict=True)) if number % (at + 2)}
        title = f"Page {number}"
        front = yaml.safe_dump({"title": title, **metadata}, allow_unicode=True)
        corpus.write(f"doc{number}.md", f"---\n{front}---\n{document(number, sections=1)}")
        made.append(Described(f"doc{number}.md", title, metadata))
    corpus.define(retrieval={"candidates": 5})
    run_night(installation, corpus.name)
    return made


def found(installation: Installation, kb: str, where: Filter | None, limit: int = 50) -> list[str]:
    searched = installation.searcher.search(
        installation.knowledge_base(kb), QUESTION, [], limit, where=where, join=False
    )
    assert searched.degraded == ()
    return [passage.place.uri for passage in searched.passages]


def test_what_a_filter_keeps_is_what_it_keeps_in_python(
    installation: Installation, corpus: Corpus, described: list[Described]
) -> None:
    chunks = {each.uri: 0 for each in described}
    with installation.catalog.reading() as connection:
        for (uri,) in connection.execute("SELECT uri FROM placement WHERE kb = %s", [corpus.name]).fetchall():
            chunks[uri] += 1

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(expressions)
    def check(raw: dict[str, Any]) -> None:
        expected = {each.uri for each in described if each.holds(raw)}
        passages = found(installation, corpus.name, parse_filter(raw))
        assert set(passages) <= expected, json.dumps(raw)
        # As many as there are: the documents differ in nothing that a search would leave out.
        assert len(passages) == min(50, sum(chunks[uri] for uri in expected)), json.dumps(raw)

    check()


def test_dates_that_are_equal_in_another_zone_are_equal(
    installation: Installation, corpus: Corpus, described: list[Described]
) -> None:
    at = {each.uri for each in described if each.metadata.get("team") == "2026-01-05T10:00:00+02:00"}
    assert at
    exactly = [{"field": "metadata.team", "op": op, "value": "2026-01-05T08:00:00Z"} for op in ("gte", "lte")]
    assert set(found(installation, corpus.name, parse_filter({"all": exactly}))) == at


def test_a_selective_filter_still_gets_as_many_as_were_asked_for(installation: Installation, corpus: Corpus) -> None:
    corpus.define(retrieval={"candidates": 5})
    for number in range(60):
        team = "---\nteam: search\n---\n" if number % 10 == 7 else ""
        corpus.write(f"doc{number}.md", team + document(number))
    run_night(installation, corpus.name)
    where = parse_filter({"field": "metadata.team", "op": "eq", "value": "search"})
    # What is asked is about a document that the filter leaves out, and candidates are few.
    passages = found(installation, corpus.name, where, 10)
    assert len(passages) == 10
    assert {int(uri.removeprefix("doc").removesuffix(".md")) % 10 for uri in passages} == {7}


def test_a_filter_shows_nobody_what_they_may_not_read(installation: Installation, corpus: Corpus) -> None:
    corpus.write("open.md", "---\nteam: search\n---\n" + document(1))
    corpus.write("closed.md", "---\nteam: search\nacl: [staff]\n---\n" + document(11))
    run_night(installation, corpus.name)
    for raw in (
        {"field": "metadata.team", "op": "exists"},
        {"field": "uri", "op": "eq", "value": "closed.md"},
        {"any": [{"field": "metadata.team", "op": "ne", "value": "x"}, {"field": "uri", "op": "prefix", "value": ""}]},
        {"not": {"field": "metadata.none", "op": "exists"}},
    ):
        assert "closed.md" not in found(installation, corpus.name, parse_filter(raw))


def test_a_filter_that_matches_nothing_finds_nothing(
    installation: Installation, corpus: Corpus, described: list[Described]
) -> None:
    where = parse_filter({"field": "metadata.team", "op": "eq", "value": ODD + "?"})
    assert found(installation, corpus.name, where) == []
    with installation.catalog.reading() as connection:
        assert connection.execute("SELECT count(*) FROM placement").fetchall()[0][0] > 0


def test_a_filter_takes_part_in_a_search_over_http(corpus: Corpus, asked: Callable[[Any], Any]) -> None:
    answer = asked({"field": "metadata.year", "op": "gte", "value": 2026})
    assert answer.status_code == 200, answer.text
    assert {place["uri"] for passage in answer.json()["passages"] for place in passage["places"]} == {"new.md"}
    wrong = asked({"all": [{"field": "metadata.year", "op": "gte", "value": "soon"}]})
    assert wrong.status_code == 422
    assert "where: /all/0/value: " in wrong.json()["detail"]


@pytest.fixture
def asked(installation: Installation, corpus: Corpus) -> Iterator[Callable[[Any], Any]]:
    """Searches over HTTP with a filter."""
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
