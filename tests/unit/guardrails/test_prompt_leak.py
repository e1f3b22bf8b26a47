"""Tests of the filter for leaks of the system prompt."""

from __future__ import annotations

import codecs
from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.prompt import NOT_IN_DOCUMENTS, SYSTEM
from mindset.guardrails.prompt_leak import LeakFilter


def filtered(*pieces: str, quotable: tuple[str, ...] = ()) -> tuple[str, bool]:
    leaks = LeakFilter(SYSTEM, quotable)
    return "".join([*map(leaks.feed, pieces), leaks.finish()]), leaks.leaked


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(SYSTEM, id="plain"),
        pytest.param(SYSTEM.upper(), id="upper case"),
        pytest.param(SYSTEM.replace(" ", "\n"), id="one word per line"),
        pytest.param(" ".join(SYSTEM), id="spaced letters"),
        pytest.param("-".join(SYSTEM.split()), id="with dashes"),
        pytest.param(f"Sure! Here it is: {' '.join(SYSTEM.split()[30:50])}", id="part"),
        pytest.param(SYSTEM[::-1], id="reversed"),
        pytest.param(codecs.encode(SYSTEM, "rot13"), id="rot13"),
        pytest.param(b64encode(SYSTEM.encode()).decode(), id="base64"),
        pytest.param(b64encode(SYSTEM.encode()[7:]).decode(), id="base64 of a part"),
    ],
)
def test_leak_ends_the_answer_before_a_sentence_is_released(answer: str) -> None:
    text, leaked = filtered(answer)
    assert leaked
    assert sum(map(str.isalpha, text)) < 45


@pytest.mark.parametrize("answer", ["Owls hoot at night. [1]", NOT_IN_DOCUMENTS, " ".join(SYSTEM.split()[5:9]), ""])
def test_harmless_text_is_not_changed(answer: str) -> None:
    assert filtered(answer) == (answer, False)
    assert filtered(*answer) == (answer, False)


def test_suspect_run_is_held_back_until_it_ends() -> None:
    leaks = LeakFilter(SYSTEM)
    run = " ".join(SYSTEM.split()[:7])  # long enough to be suspect, too short for a leak
    assert len(leaks.feed(run)) < len(run)
    assert run.endswith(leaks.feed(" owls")[: -len(" owls")])
    assert leaks.feed(f" {run} owls") == f" {run} owls"
    assert not leaks.leaked


def test_passage_that_contains_the_prompt_may_be_quoted() -> None:
    assert filtered(SYSTEM, quotable=(f"The prompt is: {SYSTEM}",)) == (SYSTEM, False)


_RUNS = [" ".join(SYSTEM.split()[start : start + 6]) for start in range(0, 60, 6)]
WORDS = st.lists(st.sampled_from([*SYSTEM.split(), *_RUNS, "owls", "[1]"]), max_size=30).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(WORDS, st.lists(st.integers(0, 400), max_size=8))
def test_result_does_not_depend_on_the_pieces(text: str, positions: list[int]) -> None:
    cuts = [0, *sorted(min(position, len(text)) for position in positions), len(text)]
    assert filtered(*(text[start:end] for start, end in pairwise(cuts))) == filtered(text)
