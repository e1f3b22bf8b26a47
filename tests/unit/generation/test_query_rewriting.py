"""A question made whole by what was asked before."""

from __future__ import annotations

import pytest

from mindset.generation.query_rewriting import MAX_PREVIOUS_QUESTIONS, condense_question

ROLLED_BACK = "How do I roll back a release?"


@pytest.mark.parametrize(
    ("question", "searched"),
    [
        ("Does it need a new build?", "Does it need a new build? (roll back release)"),
        ("What about the canary?", "What about the canary? (roll back release)"),
        ("And then?", "And then? (roll back release)"),
        ("Why?", "Why? (roll back release)"),
        ("Is a release gone after that?", "Is a release gone after that? (roll back)"),
    ],
)
def test_a_follow_up_is_searched_with_what_the_question_before_was_about(question: str, searched: str) -> None:
    assert condense_question(question, [ROLLED_BACK]) == searched


@pytest.mark.parametrize("question", ["How are segments verified before sealing?", "Which ports does the stack use?"])
def test_a_whole_question_stays_as_it_is(question: str) -> None:
    assert condense_question(question, [ROLLED_BACK]) == question


def test_the_first_question_stays_as_it_is() -> None:
    assert condense_question("Does it?", []) == "Does it?"


def test_a_follow_up_to_a_follow_up_goes_back_to_the_question_that_was_whole() -> None:
    before = ["What is quarantine?", ROLLED_BACK, "Does it need a build?"]
    assert (
        condense_question("And how long does it take?", before)
        == "And how long does it take? (need build roll back release)"
    )


def test_a_long_conversation_and_long_questions_have_bounds() -> None:
    before = [f"And subject{number}?" for number in range(40)]
    assert "subject39" in condense_question("And it?", before)
    assert f"subject{39 - MAX_PREVIOUS_QUESTIONS}" not in condense_question("And it?", before)
    assert len(condense_question("And it?", ["word " * 10 + "x" * 3_990])) <= 4_000
