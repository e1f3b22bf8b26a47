"""The check of answers against history: a true history passes, and each kind of lie is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.questions import Answer, History, Live, contradictions

HISTORY = History(
    releases=[Live(1, 10.0, 20.0), Live(2, 20.0, 30.0), Live(1, 30.0, None)],
    taken_down={"gone.md": 15.0},
    shown={1: {("a.md", "x"), ("gone.md", "y")}, 2: {("a.md", "x"), ("b.md", "x"), ("b.md", "z")}},
)
TRUE = [
    Answer(11.0, 12.0, 1, ((("a.md", "x"),), (("gone.md", "y"),))),
    Answer(14.9, 15.5, 1, ((("gone.md", "y"),),)),  # asked before it was taken down
    Answer(19.9, 20.1, 1, ((("a.md", "x"),),)),
    Answer(19.9, 20.1, 2, ((("a.md", "x"), ("b.md", "x")), (("b.md", "z"),))),
    Answer(31.0, 32.0, 1, ((("a.md", "x"),),)),
]


def test_a_true_history_is_believed() -> None:
    assert list(contradictions(HISTORY, TRUE)) == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Answer(11.0, 12.0, 2, ((("a.md", "x"),),)), "version 2 was not live"),
        (Answer(21.0, 22.0, 1, ((("a.md", "x"),),)), "version 1 was not live"),
        (Answer(11.0, 12.0, 3, ((("a.md", "x"),),)), "version 3 was not live"),
        (Answer(16.0, 17.0, 1, ((("gone.md", "y"),),)), "gone.md was shown after it was taken down"),
        (Answer(11.0, 12.0, 1, ((("b.md", "z"),),)), "version 1 does not show [('b.md', 'z')]"),
        (Answer(11.0, 12.0, 1, ((("a.md", "x"),), (("a.md", "x"),))), "shows a passage twice"),
        (Answer(11.0, 12.0, 1, ()), "has no passages"),
    ],
)
def test_a_wrong_answer_is_found(answer: Answer, found: str) -> None:
    assert [found in each for each in contradictions(HISTORY, [*TRUE, answer])] == [True]


@pytest.mark.parametrize(
    ("releases", "found"),
    [
        ([Live(1, 10.0, 20.0), Live(2, 19.0, None)], "version 1 was live until 20.0, 2 since 19.0"),
        ([Live(1, 10.0, 20.0), Live(2, 21.0, None)], "version 1 was live until 20.0, 2 since 21.0"),
        ([Live(1, 10.0, None), Live(2, 20.0, None)], "version 1 was live until None, 2 since 20.0"),
        ([Live(1, 10.0, 20.0)], "no version is live"),
        ([], "no version is live"),
    ],
)
def test_two_versions_live_at_once_or_none_are_found(releases: list[Live], found: str) -> None:
    assert found in next(contradictions(replace(HISTORY, releases=releases), []))
