"""Tests of the history check itself: a consistent history passes, and each kind of contradiction is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.questions import Answer, History, Live, contradictions

HISTORY = History(
    releases=[Live(1, 10.0, 20.0), Live(2, 20.0, 30.0), Live(1, 30.0, None)],
    taken_down={"removed.md": 15.0},
    shown={1: {("a.md", "x"), ("removed.md", "y")}, 2: {("a.md", "x"), ("b.md", "x"), ("b.md", "z")}},
)
CONSISTENT = [
    Answer(11.0, 12.0, 1, ((("a.md", "x"),), (("removed.md", "y"),))),
    Answer(14.9, 15.5, 1, ((("removed.md", "y"),),)),  # asked before the take-down
    Answer(19.9, 20.1, 1, ((("a.md", "x"),),)),
    Answer(19.9, 20.1, 2, ((("a.md", "x"), ("b.md", "x")), (("b.md", "z"),))),
    Answer(31.0, 32.0, 1, ((("a.md", "x"),),)),
]


def test_consistent_history_has_no_contradictions() -> None:
    assert list(contradictions(HISTORY, CONSISTENT)) == []


@pytest.mark.parametrize(
    ("answer", "contradiction"),
    [
        (Answer(11.0, 12.0, 2, ((("a.md", "x"),),)), "version 2 was not live"),
        (Answer(21.0, 22.0, 1, ((("a.md", "x"),),)), "version 1 was not live"),
        (Answer(11.0, 12.0, 3, ((("a.md", "x"),),)), "version 3 was not live"),
        (Answer(16.0, 17.0, 1, ((("removed.md", "y"),),)), "removed.md was returned after it was taken down"),
        (Answer(11.0, 12.0, 1, ((("b.md", "z"),),)), "version 1 does not contain [('b.md', 'z')]"),
        (Answer(11.0, 12.0, 1, ((("a.md", "x"),), (("a.md", "x"),))), "contains a passage twice"),
        (Answer(11.0, 12.0, 1, ()), "has no passages"),
    ],
)
def test_wrong_answer_is_reported(answer: Answer, contradiction: str) -> None:
    assert [contradiction in line for line in contradictions(HISTORY, [*CONSISTENT, answer])] == [True]


@pytest.mark.parametrize(
    ("releases", "contradiction"),
    [
        ([Live(1, 10.0, 20.0), Live(2, 19.0, None)], "version 1 was live until 20.0, 2 since 19.0"),
        ([Live(1, 10.0, 20.0), Live(2, 21.0, None)], "version 1 was live until 20.0, 2 since 21.0"),
        ([Live(1, 10.0, None), Live(2, 20.0, None)], "version 1 was live until None, 2 since 20.0"),
        ([Live(1, 10.0, 20.0)], "no version is live"),
        ([], "no version is live"),
    ],
)
def test_two_live_versions_or_none_are_reported(releases: list[Live], contradiction: str) -> None:
    assert contradiction in next(contradictions(replace(HISTORY, releases=releases), []))
