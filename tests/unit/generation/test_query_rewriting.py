"""Tests of the rewriting of follow-up questions."""

from __future__ import annotations

import pytest

from mindset.generation.query_rewriting import MAX_PREVIOUS_QUESTIONS, condense_question

ROLLBACK = "How do I roll back a release?"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Does it need a new build?", "Does it need a new build? (roll back release)"),
        ("What about the canary?", "What about the canary? (roll back release)"),
        ("And then?", "And then? (roll back release)"),
        ("Why?", "Why? (roll back release)"),
        ("Who should take part?", "Who should take part? (roll back release)"),
        ("Is a release gone after that?", "Is a release gone after that? (roll back)"),
    ],
)
def test_follow_up_is_extended_by_the_subject_of_the_previous_question(question: str, expected: str) -> None:
    assert condense_question(question, [ROLLBACK]) == expected


@pytest.mark.parametrize(
    "question",
    [
        "How are segments verified before sealing?",
        "Which ports does the stack use?",
        "What does Chroma need?",
        "Who reads PPX-9087 reports?",
    ],
)
def test_complete_question_is_not_changed(question: str) -> None:
    assert condense_question(question, [ROLLBACK]) == question


def test_first_question_is_not_changed() -> None:
    assert condense_question("Does it?", []) == "Does it?"


def test_follow_up_to_a_follow_up_uses_the_last_complete_question() -> None:
    before = ["What is quarantine?", ROLLBACK, "Does it need a build?"]
    assert (
        condense_question("And how long does it take?", before)
        == "And how long does it take? (need build roll back release)"
    )


def test_number_and_length_of_previous_questions_are_limited() -> None:
    before = [f"And subject{number}?" for number in range(40)]
    assert "subject39" in condense_question("And it?", before)
    assert f"subject{39 - MAX_PREVIOUS_QUESTIONS}" not in condense_question("And it?", before)
    assert len(condense_question("And it?", ["word " * 10 + "x" * 3_990])) <= 4_000
