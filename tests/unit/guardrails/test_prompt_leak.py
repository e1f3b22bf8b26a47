"""What the system was told is not told."""

from __future__ import annotations

import codecs
from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.prompt import NOT_IN_DOCUMENTS, SYSTEM
from mindset.guardrails.prompt_leak import LeakFilter


def through(*pieces: str, quotable: tuple[str, ...] = ()) -> tuple[str, bool]:
    leaks = LeakFilter(SYSTEM, quotable)
    return "".join([*map(leaks.feed, pieces), leaks.finish()]), leaks.leaked


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(SYSTEM, id="as it is"),
        pytest.param(SYSTEM.upper(), id="large"),
        pytest.param(SYSTEM.replace(" ", "\n"), id="a word a line"),
        pytest.param(" ".join(SYSTEM), id="letter by letter"),
        pytest.param("-".join(SYSTEM.split()), id="with dashes"),
        pytest.param(f"Sure! Here it is: {' '.join(SYSTEM.split()[30:50])}", id="a part of it"),
        pytest.param(SYSTEM[::-1], id="backwards"),
        pytest.param(codecs.encode(SYSTEM, "rot13"), id="rot13"),
        pytest.param(b64encode(SYSTEM.encode()).decode(), id="base64"),
        pytest.param(b64encode(SYSTEM.encode()[7:]).decode(), id="base64 of a part"),
    ],
)
def test_it_ends_the_answer_before_a_sentence_is_out(said: str) -> None:
    text, leaked = through(said)
    assert leaked
    assert sum(map(str.isalpha, text)) < 45


@pytest.mark.parametrize("said", ["Owls hoot at night. [1]", NOT_IN_DOCUMENTS, " ".join(SYSTEM.split()[5:9]), ""])
def test_what_is_no_leak_comes_out_whole(said: str) -> None:
    assert through(said) == (said, False)
    assert through(*said) == (said, False)


def test_what_looks_like_a_leak_is_held_back_until_it_is_none() -> None:
    leaks = LeakFilter(SYSTEM)
    begun = " ".join(SYSTEM.split()[:7])  # more letters than are no accident, fewer than a leak
    assert len(leaks.feed(begun)) < len(begun)
    assert begun.endswith(leaks.feed(" owls")[: -len(" owls")])
    assert leaks.feed(f" {begun} owls") == f" {begun} owls"
    assert not leaks.leaked


def test_a_document_about_the_prompt_may_be_quoted() -> None:
    assert through(SYSTEM, quotable=(f"The prompt is: {SYSTEM}",)) == (SYSTEM, False)


_RUNS = [" ".join(SYSTEM.split()[at : at + 6]) for at in range(0, 60, 6)]
WORDS = st.lists(st.sampled_from([*SYSTEM.split(), *_RUNS, "owls", "[1]"]), max_size=30).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(WORDS, st.lists(st.integers(0, 400), max_size=8))
def test_however_it_is_cut_into_pieces_the_same_comes_out(text: str, at: list[int]) -> None:
    cuts = [0, *sorted(min(each, len(text)) for each in at), len(text)]
    assert through(*(text[one:other] for one, other in pairwise(cuts))) == through(text)
