"""Tests of what can be quoted, and of answers with lists, tables and code."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.quotations import units
from mindset.retrieval.passage import Passage
from mindset.text.plain import plain_text
from tests.unit.generation.passages import passage
from tests.unit.generation.test_extractive import ask


def texts(text: str, media_type: str = "text/markdown", language: str = "english") -> list[str]:
    return [unit.text for unit in units(text, media_type, language)]


def test_headings_and_links_are_no_units() -> None:
    source = (
        "# The old pier\n\nIt was built in 1902.\n\n- [All about the pier](pier.md)\n- A pier with a [light](l.md)\n"
    )
    assert texts(source) == ["It was built in 1902.", "A pier with a light"]


def test_list_is_quoted_with_the_sentence_that_introduces_it() -> None:
    source = "The office is closed on these days:\n\n- Sundays\n- the first of May\n\nOtherwise it is open."
    assert ask("On which days is the office closed?", passage(source)).text == (
        "The office is closed on these days:\n- Sundays\n- the first of May [1]"
    )


def test_item_is_quoted_with_its_introduction() -> None:
    source = "Bring these to the harbour:\n\n- A rope of nine metres\n- A passport\n"
    answer = ask("How long is the rope to bring to the harbour, in metres?", passage(source))
    assert answer.text.startswith("Bring these to the harbour:\n- A rope of nine metres")


def test_row_is_quoted_with_the_header_of_its_table() -> None:
    source = "| Ferry | Pier | Fare |\n| --- | --- | --- |\n| Gull | north | 12 |\n| Tern | south | 15 |\n"
    assert (
        ask("What is the fare of the ferry Tern?", passage(source)).text == "Ferry | Pier | Fare\nTern | south | 15 [1]"
    )


def test_code_is_quoted_as_it_is() -> None:
    source = "Empty the bilge with this command:\n\n```sh\npump --bilge [1] **all**  # <deck>\n```\n"
    assert "pump --bilge [1] **all**  # <deck>" in ask("With which command do I empty the bilge?", passage(source)).text


def test_plain_text_has_no_markup_and_no_code() -> None:
    source = Passage(
        1, ("c",), "    The gate_[2] opens at 2 ** 3 bar,\n    as *everybody* knows.", passage("").places, "text/plain"
    )
    assert (
        ask("At how many bar does the gate open?", source).text
        == "The gate_[2] opens at 2 ** 3 bar, as *everybody* knows. [1]"
    )


def test_words_and_sentences_follow_the_language() -> None:
    german = replace(passage("Die Ausweise liegen z. B. am Eingang. Der Hund wartet draußen."), language="german")
    assert ask("Wo liegen denn die Ausweise?", german).text == "Die Ausweise liegen z. B. am Eingang. [1]"
    japanese = replace(passage("桟橋は夜に閉まります。船は朝に出ます。"), language="simple")
    assert ask("船はいつ出ますか", japanese).text == "船は朝に出ます。 [1]"


def test_sentence_is_not_cut_within_a_name() -> None:
    assert ask("Who writes for .NET?", passage("Programs for .NET are written by the purser.")).text == (
        "Programs for .NET are written by the purser. [1]"
    )


_PARTS = st.sampled_from(
    ["# ", "- ", "1. ", "> ", "`argv[1]` ", "**ropes** ", "[1] ", "[^2] ", "<deck-number> ", "<b>bold</b> ", "tide &amp; salt ",
     "__init__ ", "the gulls sleep. ", "a | b\n--- | ---\n1 | 2\n", "```\nx = a[1] ** 2\n```\n", "\n\n", "\n", "[light](l.md) ",
     "<https://a.example/x_y> ", "{{ page }} ", ".NET ", "Why? ", "three of them: "]
)  # fmt: skip


def flat(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=200, deadline=None)
@given(st.lists(_PARTS, max_size=25).map("".join))
def test_what_is_quoted_occurs_in_the_rendered_text(source: str) -> None:
    rendered = flat(plain_text(source))
    for unit in units(source, "text/markdown", "english"):
        assert flat(unit.text) in rendered
        assert flat(unit.lead) in rendered


@pytest.mark.parametrize("text", ["", "# Only a heading", "---", "| a |\n| - |", "- [link](x.md)"])
def test_nothing_to_quote(text: str) -> None:
    assert texts(text) == []
    assert not re.search(r"\w", "".join(texts(text)))
