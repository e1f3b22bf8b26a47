"""Tests of the signatures of texts."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.full_text.near_duplicates import COMPONENTS, MIN_RESEMBLANCE, MIN_WORDS, resemblance, signature

_WORDS = st.lists(st.sampled_from(["tide", "boat", "rope", "salt", "gull", "mast"]), min_size=MIN_WORDS)


def text(seed: int, length: int = 120) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices("abcdefgh", k=5)) for _ in range(length)]


def compare(one: list[str], other: list[str]) -> float:
    return float(resemblance(signature(one).components[np.newaxis], signature(other).components)[0])


def test_estimate_is_near_the_share_of_common_sequences() -> None:
    words = text(1)
    for changed in (1, 5, 20):
        other = list(words)
        for position in range(0, 120, 120 // changed):
            other[position] = "changed"
        sequences = [{tuple(part[at : at + 3]) for at in range(118)} for part in (words, other)]
        exact = len(sequences[0] & sequences[1]) / len(sequences[0] | sequences[1])
        assert compare(words, other) == pytest.approx(exact, abs=0.13)


def test_unrelated_texts_do_not_resemble_each_other() -> None:
    assert abs(compare(text(1), text(2))) < 0.1


def test_one_changed_word_in_a_hundred_is_a_near_duplicate() -> None:
    words = text(3)
    other = [*words[:50], "changed", *words[51:]]
    assert compare(words, other) > MIN_RESEMBLANCE


@given(_WORDS)
def test_equal_words_have_equal_signatures(words: list[str]) -> None:
    assert compare(words, list(words)) == 1.0
    assert signature(words).components.shape == (COMPONENTS,)
    assert signature(words).figures


def test_figures_tell_texts_apart() -> None:
    words = text(4)
    assert signature([*words, "40"]).figures != signature([*words, "41"]).figures
    assert signature([*words, "40"]).figures == signature(["40", *words]).figures
    assert signature([*words, "40", "40"]).figures != signature([*words, "40"]).figures


def test_short_texts_are_not_compared() -> None:
    assert signature(["see", "the", "table"]).figures == 0
    assert signature(["word"] * (MIN_WORDS - 1)).figures == 0


def test_signatures_are_those_that_were_stored() -> None:
    """A library that computes others would compare new texts with old ones wrongly: the name of the analysis must change."""
    sentence = "the tide comes in twice a day and lifts every boat in the harbour until the ropes are tight again"
    found = signature(sentence.split())
    assert (found.figures, found.components[:8].tolist()) == (STORED_FIGURES, STORED_COMPONENTS)


STORED_FIGURES, STORED_COMPONENTS = 13020603013274838756, [75, 159, 70, 52, 92, 13, 143, 116]
