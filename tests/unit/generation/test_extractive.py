"""Tests of extractive answers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.generation.answer_stream import Answer, stream_answer
from mindset.generation.extractive import MAX_ITEMS, MAX_QUOTATIONS, ExtractiveGenerator
from mindset.generation.prompt import NOT_IN_DOCUMENTS
from mindset.generation.quotations import MAX_CODE_LENGTH, MAX_LENGTH
from mindset.retrieval.passage import Passage
from tests.unit.generation.passages import passage

BADGERS = passage("Badgers dig setts at night. They eat worms and beetles.", title="Animals")
FOXES = passage("Foxes hunt mice in the **meadow**. A fox sleeps by day.", rank=2, title="Animals")


def ask(question: str, *passages: Passage) -> Answer:
    *_, answer = stream_answer(ExtractiveGenerator(), question, passages)
    assert isinstance(answer, Answer)
    return answer


def test_answer_quotes_the_matching_sentence_and_cites_its_passage() -> None:
    answer = ask("When do badgers dig their setts?", BADGERS, FOXES)
    assert answer.text == "Badgers dig setts at night. [1]"
    assert [citation.passage for citation in answer.citations] == [1]
    assert answer.supported
    assert (answer.generator, answer.finish_reason) == ("extractive:extractive", "stop")


def test_inflected_words_match() -> None:
    assert ask("Where does a fox go hunting for a mouse or for mice?", BADGERS, FOXES).text.startswith(
        "Foxes hunt mice in the meadow. [2]"
    )


def test_question_with_two_parts_is_answered_from_two_passages() -> None:
    answer = ask("What do badgers dig and what do foxes hunt?", BADGERS, FOXES)
    assert answer.text == "Badgers dig setts at night. [1] Foxes hunt mice in the meadow. [2]"
    assert [citation.passage for citation in answer.citations] == [1, 2]


def test_headings_count_as_words_of_their_sentences() -> None:
    pier = passage("It sails at eight from there.", title="Ferries", heading_path=("Ferries", "Northern pier"))
    assert ask("When does the ferry sail from the northern pier?", pier).text == "It sails at eight from there. [1]"


@pytest.mark.parametrize(
    ("question", "passages"),
    [
        pytest.param("What is the capital of Mongolia?", [BADGERS, FOXES], id="unrelated passages"),
        pytest.param("What does the contract say about badgers in court?", [BADGERS], id="one matching word"),
        pytest.param("What is it?", [BADGERS], id="only stop words"),
        pytest.param("?!", [BADGERS], id="no word"),
        pytest.param("When do badgers dig?", [], id="no passage"),
        pytest.param("When do badgers dig?", [passage("")], id="empty passage"),
        pytest.param(
            "When do badgers dig?",
            [passage("## When badgers dig\n\n- [When badgers dig](dig.md)")],
            id="headings and links",
        ),
        pytest.param("badgers dig", [passage("Badgers dig " + "and dig " * 80 + ".")], id="long sentence"),
    ],
)
def test_unsupported_answer_has_no_citations(question: str, passages: list[Passage]) -> None:
    answer = ask(question, *passages)
    assert (answer.text, answer.citations, answer.supported) == (NOT_IN_DOCUMENTS, (), False)


def test_references_of_a_document_are_not_mistaken_for_citations() -> None:
    for reference in ("[2]", "[1, 3]", "[1-3]", "[1; 2]", "[ref 2]", "【1】", "[No. 2]", "argv[1]"):
        answer = ask("When do badgers dig setts?", passage(f"Badgers dig setts {reference} at night."))
        assert answer.text == f"Badgers dig setts {reference} at night. [1]"
        assert [citation.passage for citation in answer.citations] == [1]


def test_footnotes_and_links_that_are_marks_are_left_out() -> None:
    for reference in ("[^1]", "[2](sources.md)", "[[3]](#three)"):
        answer = ask(
            "When do badgers dig setts?", passage(f"Badgers dig setts at night{reference}. They sleep by day.")
        )
        assert answer.text == "Badgers dig setts at night. [1]"


def test_duplicate_sentence_is_quoted_once() -> None:
    assert ask("When do badgers dig setts?", BADGERS, BADGERS).text == "Badgers dig setts at night. [1]"


def _letters(text: str) -> str:
    return "".join(re.findall(r"[^\W\d]", text))


_WORDS = [
    "badgers",
    "dig",
    "setts",
    "at",
    "night",
    "foxes",
    "hunt",
    "[1]",
    "[7]",
    "[",
    "**mice**",
    ".",
    ". ",
    "\n\n",
    "# ",
    "- ",
    "é",
]
_TEXTS = st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(_TEXTS, max_size=4), _TEXTS)
def test_answer_consists_of_quotations_only(texts: list[str], question: str) -> None:
    passages = [passage(text, rank) for rank, text in enumerate(texts, start=1)]
    answer = ask(question, *passages)
    assert answer.supported == bool(answer.citations) == (answer.text != NOT_IN_DOCUMENTS)
    assert len(answer.citations) <= MAX_QUOTATIONS
    for citation in answer.citations:
        quoted = answer.text[citation.start : citation.end]
        assert len(quoted) <= MAX_CODE_LENGTH + MAX_LENGTH * (MAX_ITEMS + 1)
        assert _letters(quoted) in _letters(passages[citation.passage - 1].text)
