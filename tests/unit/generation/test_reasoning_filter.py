"""Reasoning in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.reasoning_filter import ReasoningFilter


def _said(bits: list[str]) -> str:
    thinking = ReasoningFilter()
    return "".join(thinking.feed(bit) for bit in bits) + thinking.finish()


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_reasoning_is_left_out_wherever_the_stream_is_split(data: st.DataObject, text: str, said: str) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    bits = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _said(bits) == said


def test_text_is_not_held_back_without_need() -> None:
    thinking = ReasoningFilter()
    assert thinking.feed("Owls ") == "Owls "
    assert thinking.feed("hoot <") == "hoot "
    assert thinking.feed("3") == "<3"
