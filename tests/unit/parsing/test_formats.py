"""One function a format."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.errors import DocumentRejected
from mindset.parsing import pdf as pdf_format
from mindset.parsing import registry
from mindset.parsing.document import ParsedDocument
from mindset.parsing.registry import FORMATS, parse
from tests.unit.pdf import pdf

PAGE = """<html><head><title>Ferries | Port</title></head><body>
<nav><a href="/">Home</a><a href="/about">About us</a></nav>
<main><h1>Ferries</h1><p>The ferry sails at eight from the northern pier, every day but Sunday.</p>
<p>Tickets are sold on board and at the harbour office until a quarter to eight.</p>
<table><tr><th>Ship</th><th>Seats</th></tr><tr><td>Aurora</td><td>120</td></tr></table></main>
<footer>Imprint and privacy</footer><script>let hidden = 1;</script></body></html>"""


def test_markdown_stays_as_it_is_without_its_front_matter() -> None:
    parsed = parse("a/b.md", b"---\ntitle: Piers\nacl: [staff]\nyear: 7\n---\n# North *pier*\n\nText.\n")
    assert parsed == ParsedDocument("# North *pier*\n\nText.\n", "Piers", "text/markdown", {"year": 7}, ("staff",))


@pytest.mark.parametrize(
    ("uri", "text", "title"),
    [
        ("a.md", "# First ##\n\n# Second", "First"),
        ("a.md", "## Under {#anchor}\n", "Under"),
        ("the-north_pier.md", "Text without heading.", "The north pier"),
        ("a.md", "### Too deep to be a title\n", "A"),
        ("notes.txt", "Short first line\nand more", "Short first line"),
        ("long-notes.txt", "x" * 101, "Long notes"),
        ("---.txt", "x" * 101, "---.txt"),
        ("\u200b.txt", "x" * 101, ".txt"),
        ("a.md", "# ##\n\n## Real", "Real"),
        ("a.md", "```bash\n# install\n```\n\n## Real", "Real"),
        ("a.md", "~~~\n# install\n```\n# still code\n~~~\n# Real", "Real"),
        ("a.md", "Real\n====\n\n## Below", "Real"),
        ("a.md", "====\n\n## Real", "Real"),
        ("a.md", "---\ntitle: |\n  Two\n  lines\n---\nText", "Two lines"),
        ("a.md", f"# {'long ' * 100}", ("long " * 60).strip()),
    ],
)
def test_the_title_is_stated_or_taken_from_what_is_there(uri: str, text: str, title: str) -> None:
    assert parse(uri, text.encode()).title == title


def test_plain_text_keeps_what_looks_like_front_matter() -> None:
    parsed = parse("a.txt", b"---\nacl: 7\n---\ntext")
    assert parsed.text == "---\nacl: 7\n---\ntext"
    assert parsed.media_type == "text/plain"


def test_of_a_page_the_main_content_is_read() -> None:
    parsed = parse("ferries.html", PAGE.encode())
    assert "The ferry sails at eight" in parsed.text
    assert "Aurora" in parsed.text
    assert "hidden" not in parsed.text
    assert "About us" not in parsed.text
    assert parsed.media_type == "text/markdown"
    assert parsed.title.startswith("Ferries")


def test_code_of_a_page_keeps_its_indent_and_nothing_else_does() -> None:
    code = "<pre><code>def sail():\n    if calm:\n        return True\n</code></pre>"
    page = PAGE.replace("</p>", f"</p><blockquote><p>The pier is closed.</p></blockquote>{code}", 1)
    text = parse("a.html", page.encode()).text
    assert "def sail():\n    if calm:\n        return True" in text
    assert all(line == line.strip() for line in text.partition("```")[0].split("\n"))


def test_a_page_may_have_front_matter() -> None:
    parsed = parse("a.HTML", f"---\ntitle: Stated\nacl: staff\n---\n{PAGE}".encode())
    assert parsed.title == "Stated"
    assert parsed.acl == ("staff",)
    assert "acl" not in parsed.text


def test_a_block_of_javascript_above_a_page_is_left_out() -> None:
    parsed = parse("a.htm", f"---js\nconst eleventy = {{}};\n---\n{PAGE}".encode())
    assert "eleventy" not in parsed.text


def test_of_a_pdf_the_pages_are_read() -> None:
    parsed = parse("report.pdf", pdf("The harbour opened in 1887.", "It closed in 1990.", title="Annual report"))
    assert parsed.text == "The harbour opened in 1887.\n\nIt closed in 1990."
    assert parsed.title == "Annual report"
    assert parsed.metadata == {"pages": 2}


@pytest.mark.parametrize("title", ["", "Microsoft Word - draft7.docx", "Untitled"])
def test_a_title_that_a_program_left_in_a_pdf_is_not_used(title: str) -> None:
    assert parse("annual-report.pdf", pdf("Text.", title=title)).title == "Annual report"


def test_a_title_shows_nothing_invisible() -> None:
    def titled(title: str) -> bytes:
        return pdf("Text.", title="\xfe\xff" + title.encode("utf-16-be").decode("latin-1"))

    assert parse("a.pdf", titled("An\1nual\u200b\u202e re\nport\ufeff")).title == "Annual re port"
    assert parse("annual-report.pdf", titled("\u200b\u2060")).title == "Annual report"


@pytest.mark.parametrize("tail", [" ", "#", " #", "{#", "{# }"])
def test_an_endless_heading_is_read_at_once(tail: str) -> None:
    started = time.process_time()
    assert parse("a.md", f"# Title{tail * 100_000}x".encode()).title.startswith("Title")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("uri", "raw", "reason"),
    [
        ("a.exe", b"MZ", r"No parser for '\.exe'\. Known: \.md"),
        ("README", b"text", "No parser for 'a name without ending'"),
        ("a.md", b"", "Holds no text"),
        ("a.md", b"---\ntitle: only front matter\n---\n\n", "Holds no text"),
        ("a.txt", b" \n\t\n", "Holds no text"),
        ("a.md", b"\x89PNG\0\0", "binary data"),
        ("a.txt", "Grüße".encode("latin-1"), r"not valid UTF-8: byte 2"),
        ("a.html", b"", "No main content|not HTML"),
        ("a.html", b"<html><body><script>1</script></body></html>", "No main content"),
        ("a.html", b"---\nacl: 7\n---\n" + PAGE.encode(), "`acl` in the front matter"),
        ("a.pdf", b"%PDF-1.7 but not really", "not a readable PDF"),
        ("a.pdf", b"", "not a readable PDF"),
        ("a.pdf", pdf("Text.")[:200], "not a readable PDF"),
        ("a.pdf", pdf(""), "run text recognition first"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_one_reason_and_a_remedy(uri: str, raw: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected, match=reason) as rejected:
        parse(uri, raw)
    assert str(rejected.value).endswith(".")
    assert "\n" not in str(rejected.value)


def test_too_much_text_and_too_many_pages_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_CHARACTERS", 10)
    monkeypatch.setattr(pdf_format, "MAX_PAGES", 1)
    with pytest.raises(DocumentRejected, match=r"Holds 11 characters; 10 is the most"):
        parse("a.txt", b"eleven text")
    with pytest.raises(DocumentRejected, match=r"Has 2 pages; 1 is the most"):
        parse("a.pdf", pdf("a", "b"))


def test_the_content_hash_names_what_is_shown_and_not_who_may_see_it() -> None:
    known = ParsedDocument("text", "title", "text/plain", {"a": 1}, ("staff",))
    assert known.content_hash == ParsedDocument("text", "title", "text/plain", {"a": 1}).content_hash
    others = [
        ParsedDocument("text!", "title", "text/plain", {"a": 1}),
        ParsedDocument("text", "title!", "text/plain", {"a": 1}),
        ParsedDocument("text", "title", "text/markdown", {"a": 1}),
        ParsedDocument("text", "title", "text/plain", {"a": 2}),
    ]
    assert len({known.content_hash, *(each.content_hash for each in others)}) == 5


_TAGS = [
    "<p>",
    "</p>",
    "<table><tr><td>",
    "<!--",
    "-->",
    "<![CDATA[",
    "&#xD800;",
    "&#0;",
    "<svg>",
    "<body>",
    "<",
    "text ",
]
_RAW = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda tail: b"%PDF-1.7\n" + tail),
    st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=8)).map(
        lambda change: (good := pdf("Text."))[: change[0]] + change[1] + good[change[0] + len(change[1]) :]
    ),
    st.lists(st.sampled_from(_TAGS), max_size=20).map(lambda tags: "".join(tags).encode()),
    st.binary(max_size=40).map(lambda tail: b"---\n" + tail + b"\n---\ntext"),
)


@pytest.mark.parametrize("ending", sorted(FORMATS))
@settings(max_examples=60, deadline=None)
@given(raw=_RAW)
def test_any_bytes_are_parsed_or_rejected(ending: str, raw: bytes) -> None:
    try:
        parsed = parse(f"fuzz{ending}", raw)
    except DocumentRejected as rejected:
        assert str(rejected).endswith(".")
    else:
        assert parsed.text.strip()
        assert parsed.title
        assert "\0" not in parsed.text + parsed.title
        f"{parsed.text}{parsed.title}".encode()
