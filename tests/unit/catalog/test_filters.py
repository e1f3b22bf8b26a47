"""Tests of the validation of filters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.catalog.filters import MAX_CONDITIONS, MAX_DEPTH, parse_filter, sql_condition
from mindset.errors import RequestRejected

TEAM = {"field": "metadata.team", "op": "eq", "value": "search"}


def nested(levels: int) -> dict[str, Any]:
    return TEAM if levels == 1 else {"not": nested(levels - 1)}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "/: write `field`, `op`"),
        ([TEAM], "/: write `field`, `op`"),
        ({**TEAM, "op": "like"}, "/: write `field`, `op`"),
        ({**TEAM, "op": ["eq"]}, "/: write `field`, `op`"),
        ({**TEAM, "field": "acl"}, "/field: "),
        ({**TEAM, "field": "metadata."}, "/field: "),
        ({**TEAM, "field": "metadata.a\0b"}, "/field: "),
        ({**TEAM, "value": None}, "/value: "),
        ({**TEAM, "value": {"a": 1}}, "/value: "),
        ({**TEAM, "value": "\ud800"}, "/value: "),
        ({**TEAM, "value": "x" * 501}, "/value: "),
        ({**TEAM, "value": float("inf")}, "/value: "),
        ({**TEAM, "value": 10**15 + 1}, "/value: "),
        ({**TEAM, "more": 1}, "/more: "),
        ({"field": "title", "op": "eq", "value": 1}, "`title` is text"),
        ({"field": "title", "op": "lt", "value": 1}, "/field: "),
        ({"field": "metadata.a", "op": "prefix", "value": "x"}, "/field: "),
        ({"field": "metadata.a", "op": "lt", "value": "soon"}, "/value: "),
        ({"field": "metadata.a", "op": "lt", "value": "2026-02-31"}, "/value: "),
        ({"field": "metadata.a", "op": "lt", "value": "9999-12-31T23:59:00-10:00"}, "/value: "),
        ({"field": "metadata.a", "op": "lt", "value": True}, "/value: "),
        ({"field": "metadata.a", "op": "in", "value": []}, "/value: "),
        ({"field": "metadata.a", "op": "in", "value": list(range(101))}, "/value: "),
        ({"all": []}, "/all: "),
        ({"all": [TEAM], "any": [TEAM]}, "/any: "),
        ({"all": [TEAM, {"any": [TEAM, {**TEAM, "value": None}]}]}, "/all/1/any/1/value: "),
        ({"not": [TEAM]}, "/not: "),
    ],
)
def test_invalid_filter_is_rejected_with_a_pointer_to_the_error(raw: Any, message: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        parse_filter(raw)
    assert message in str(caught.value)


def test_number_of_levels_is_limited() -> None:
    parse_filter(nested(MAX_DEPTH))
    with pytest.raises(RequestRejected, match="more than 4 levels"):
        parse_filter(nested(MAX_DEPTH + 1))


def test_number_of_conditions_is_limited() -> None:
    half = {"any": [TEAM] * (MAX_CONDITIONS // 2)}
    parse_filter({"all": [half, half]})
    with pytest.raises(RequestRejected, match="more than 32 conditions"):
        parse_filter({"all": [half, half, TEAM]})


def test_huge_filter_is_rejected_without_validating_all_of_it() -> None:
    with pytest.raises(RequestRejected, match="more than 4 levels"):
        parse_filter(nested(500))
    with pytest.raises(RequestRejected, match="more than 32 conditions"):
        parse_filter({"any": [TEAM] * 100_000})


def test_equal_filters_have_equal_cache_keys() -> None:
    raw = {"all": [TEAM, {"not": {"field": "metadata.n", "op": "in", "value": [1, "1", True]}}]}
    one, other = parse_filter(raw), parse_filter(raw)
    assert one == other
    assert one.model_dump_json() == other.model_dump_json()
    assert parse_filter(one.model_dump()) == one


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(text, text)
def test_keys_and_values_are_parameters_and_not_part_of_the_sql(key: str, value: str) -> None:
    equal = {"field": f"metadata.{key}", "op": "eq", "value": value}
    prefix = {"field": "title", "op": "prefix", "value": value}
    condition = sql_condition(parse_filter({"any": [equal, prefix]}))
    plain = sql_condition(parse_filter({"any": [TEAM, {**prefix, "value": "a"}]}))
    assert condition.sql == plain.sql
    assert list(condition.parameters) == list(plain.parameters)
    assert key in condition.parameters.values()
