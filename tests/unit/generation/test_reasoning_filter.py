"""Tests of the removal of reasoning from a stream of text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.reasoning_filter import ReasoningFilter


def _filtered(pieces: list[str]) -> str:
    reasoning = ReasoningFilter()
    return "".join(reasoning.feed(piece) for piece in pieces) + reasoning.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a [1]</think>\n\nb", "b"),
        ("plain a < b <thin text", "plain a < b <thin text"),
        ("a <think>b</think>c<think>d</think> e", "a c e"),
        ("<think>never closed", ""),
        ("<<think>a</think>", "<"),
        ("", ""),
    ],
)
@settings(deadline=None)
@given(data=st.data())
def test_reasoning_is_removed_wherever_the_stream_is_split(data: st.DataObject, text: str, expected: str) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _filtered(pieces) == expected


def test_only_a_possible_tag_is_held_back() -> None:
    reasoning = ReasoningFilter()
    assert reasoning.feed("Owls ") == "Owls "
    assert reasoning.feed("hoot <") == "hoot "
    assert reasoning.feed("3") == "<3"
