"""Tests of the parsers of all formats."""

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


def test_markdown_is_kept_without_its_front_matter() -> None:
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
def test_title_is_taken_from_front_matter_heading_or_name(uri: str, text: str, title: str) -> None:
    assert parse(uri, text.encode()).title == title


def test_plain_text_has_no_front_matter() -> None:
    parsed = parse("a.txt", b"---\ntitle: 7\n---\ntext")
    assert parsed.text == "---\ntitle: 7\n---\ntext"
    assert parsed.media_type == "text/plain"


@pytest.mark.parametrize("text", ["---\nacl: 7\n---\ntext", "acl: board\n\ntext", '{"acl": ["board"]}\ntext'])
def test_plain_text_that_states_rights_is_rejected(text: str) -> None:
    with pytest.raises(DocumentRejected, match=r"would have no effect\. Move it"):
        parse("a.txt", text.encode())


@pytest.mark.parametrize(
    "meta",
    [
        '<meta name="acl" content="staff, board">',
        "<META NAME=ACL CONTENT='board,staff'>",
        '<meta property="&#97;cl" content=" staff ,board">',
        '<meta content="staff&#44;board" name=" Acl ">',
    ],
)
def test_meta_element_of_a_page_states_its_rights(meta: str) -> None:
    assert parse("a.html", PAGE.replace("<head>", f"<head>{meta}").encode()).acl == ("board", "staff")


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ('<meta name="acl" content="">', "`acl` in the `meta` element of the page is ''"),
        ('<meta name="acl">', "`acl` in the `meta` element of the page is ''"),
        ('<meta name="acl" content="a"><meta name="ACL" content="*">', "says twice who may read it"),
        ('<meta name="dc.acl" content="board">', "'dc.acl', which has no effect"),
        ("<!-- acl: board -->", "A comment contains an `acl`"),
    ],
)
def test_page_whose_rights_cannot_be_read_is_rejected(page: str, reason: str) -> None:
    raw = page + PAGE if page.startswith("<!--") else PAGE.replace("<head>", f"<head>{page}")
    with pytest.raises(DocumentRejected, match=reason):
        parse("a.html", raw.encode())


def test_page_states_rights_in_one_place_only() -> None:
    page = PAGE.replace("<head>", '<head><meta name="acl" content="*">')
    with pytest.raises(DocumentRejected, match="says twice who may read it"):
        parse("a.html", f"---\nacl: board\n---\n{page}".encode())


@pytest.mark.parametrize(
    "text",
    [
        "# Pay\n\n---\nacl: [board]\n---\n\nText.",
        "---\ntitle: Pay\n---\n\n---\nacl: [board]\n---\nText.",
        "[//]: # (lint off)\n\n+++\nacl = 'board'\n+++\nText.",
        "{% comment %}x{% endcomment %}\n---toml\nacl = ['board']\n---\nText.",
        "# Pay\n---\ntags:\n\nacl:\n- board\n---\nText.",
        "# Pay\n\n---\nacl: board\n\nText.",
    ],
)
def test_front_matter_below_other_text_is_rejected_if_it_states_rights(text: str) -> None:
    with pytest.raises(DocumentRejected, match=r"would have no effect\. Move it"):
        parse("a.md", text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "# Rights\n\n```yaml\n---\nacl: [board]\n---\n```\n",
        "```yaml\n---\nacl: [board]\n---\n```\nShows a block.\n",
        '~~~json\n{"acl": ["board"]}\n~~~\n',
        "# Rights\n\nSet `acl: [board]` at the top.\n\n---\n\n`acl: [staff]` is another one.\n\n---\n",
        "| acl: | x |\n| --- | --- |\n| a | b |\n\n# Rights\n\nacl: as described.\n",
        "---\n\n# Rights\n\nThe oracle: it knows.\n\n---\n\nMore.\n",
        "---\n\n# Rights\n\n```yaml\nacl: [board]\n```\n\n---\n\nMore.\n",
        "ACL: a list that says who may read.\n",
    ],
)
def test_text_about_rights_is_not_rejected(text: str) -> None:
    parsed = parse("a.md", text.encode())
    assert (parsed.text, parsed.acl) == (text, None)


def test_main_content_of_a_page_is_extracted() -> None:
    parsed = parse("ferries.html", PAGE.encode())
    assert "The ferry sails at eight" in parsed.text
    assert "Aurora" in parsed.text
    assert "hidden" not in parsed.text
    assert "About us" not in parsed.text
    assert parsed.media_type == "text/markdown"
    assert parsed.title.startswith("Ferries")


def test_only_code_of_a_page_keeps_its_indent() -> None:
    code = "<pre><code>def sail():\n    if calm:\n        return True\n</code></pre>"
    page = PAGE.replace("</p>", f"</p><blockquote><p>The pier is closed.</p></blockquote>{code}", 1)
    text = parse("a.html", page.encode()).text
    assert "def sail():\n    if calm:\n        return True" in text
    assert all(line == line.strip() for line in text.partition("```")[0].split("\n"))


def test_page_may_have_front_matter() -> None:
    parsed = parse("a.HTML", f"---\ntitle: Stated\nacl: staff\n---\n{PAGE}".encode())
    assert parsed.title == "Stated"
    assert parsed.acl == ("staff",)
    assert "acl" not in parsed.text


def test_javascript_front_matter_is_removed() -> None:
    parsed = parse("a.htm", f"---js\nconst eleventy = {{}};\n---\n{PAGE}".encode())
    assert "eleventy" not in parsed.text


def test_pages_of_a_pdf_are_extracted() -> None:
    parsed = parse("report.pdf", pdf("The harbour opened in 1887.", "It closed in 1990.", title="Annual report"))
    assert parsed.text == "The harbour opened in 1887.\n\nIt closed in 1990."
    assert parsed.title == "Annual report"
    assert parsed.metadata == {"pages": 2}


def test_values_of_a_form_are_part_of_the_text() -> None:
    raw = pdf("Berth application", "Second page", fields={"boat": "Sea Urchin", "length": "", "owner": "A. Holm"})
    text = parse("a.pdf", raw).text
    assert " ".join(text.split()) == "Berth application boat: Sea Urchin owner: A. Holm Second page"


@pytest.mark.parametrize("title", ["", "Microsoft Word - draft7.docx", "Untitled"])
def test_file_name_as_pdf_title_is_ignored(title: str) -> None:
    assert parse("annual-report.pdf", pdf("Text.", title=title)).title == "Annual report"


def test_title_has_no_invisible_characters() -> None:
    def titled(title: str) -> bytes:
        return pdf("Text.", title="\xfe\xff" + title.encode("utf-16-be").decode("latin-1"))

    assert parse("a.pdf", titled("An\1nual\u200b\u202e re\nport\ufeff")).title == "Annual re port"
    assert parse("annual-report.pdf", titled("\u200b\u2060")).title == "Annual report"


@pytest.mark.parametrize("tail", [" ", "#", " #", "{#", "{# }"])
def test_long_heading_is_parsed_in_linear_time(tail: str) -> None:
    started = time.process_time()
    assert parse("a.md", f"# Title{tail * 100_000}x".encode()).title.startswith("Title")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("uri", "raw", "reason"),
    [
        ("a.exe", b"MZ", r"No parser for '\.exe'\. Supported: \.md"),
        ("README", b"text", "No parser for a file without extension"),
        ("a.md", b"", "contains no text"),
        ("a.md", b"---\ntitle: only front matter\n---\n\n", "contains no text"),
        ("a.txt", b" \n\t\n", "contains no text"),
        ("a.md", b"\x89PNG\0\0", "binary data"),
        ("a.txt", "Grüße".encode("latin-1"), r"not valid UTF-8: byte 2"),
        ("a.html", b"", "no main content|not valid HTML"),
        ("a.html", b"<html><body><script>1</script></body></html>", "no main content"),
        ("a.html", b"---\nacl: 7\n---\n" + PAGE.encode(), "`acl` in the front matter"),
        ("a.pdf", b"%PDF-1.7 but not really", "not a readable PDF"),
        ("a.pdf", b"", "not a readable PDF"),
        ("a.pdf", pdf("Text.")[:200], "not a readable PDF"),
        ("a.pdf", pdf(""), "run text recognition first"),
    ],
)
def test_unusable_document_is_rejected_with_reason_and_remedy(uri: str, raw: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected, match=reason) as rejected:
        parse(uri, raw)
    assert str(rejected.value).endswith(".")
    assert "\n" not in str(rejected.value)


def test_document_over_a_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_CHARACTERS", 10)
    monkeypatch.setattr(pdf_format, "MAX_PAGES", 1)
    with pytest.raises(DocumentRejected, match=r"has 11 characters; the maximum is 10"):
        parse("a.txt", b"eleven text")
    with pytest.raises(DocumentRejected, match=r"has 2 pages; the maximum is 1"):
        parse("a.pdf", pdf("a", "b"))


def test_content_hash_depends_on_everything_but_the_acl() -> None:
    parsed = ParsedDocument("text", "title", "text/plain", {"a": 1}, ("staff",))
    assert parsed.content_hash == ParsedDocument("text", "title", "text/plain", {"a": 1}).content_hash
    others = [
        ParsedDocument("text!", "title", "text/plain", {"a": 1}),
        ParsedDocument("text", "title!", "text/plain", {"a": 1}),
        ParsedDocument("text", "title", "text/markdown", {"a": 1}),
        ParsedDocument("text", "title", "text/plain", {"a": 2}),
    ]
    assert len({parsed.content_hash, *(other.content_hash for other in others)}) == 5


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
        lambda change: (valid := pdf("Text."))[: change[0]] + change[1] + valid[change[0] + len(change[1]) :]
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


PARAGRAPHS = (
    "<p>The lighthouse is painted every ten years, and the lamp is cleaned by the keeper on the first of each month.</p>"
    "<p>Visitors climb the stairs in groups of twelve, and leave their bags in the hut beside the entrance door.</p>"
)


def page(body: str, head: str = "<title>Lighthouse</title>") -> bytes:
    return f"<html><head>{head}</head><body><main>{body}</main></body></html>".encode()


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>\n Keepers of the lamp\n</title>", PARAGRAPHS, "Keepers of the lamp"),
        ("<title>Page 7</title>", f"<h1>Stairs</h1>{PARAGRAPHS}", "Stairs"),
        ("", PARAGRAPHS, "Lamp 12"),
    ],
)
def test_title_of_a_page(head: str, body: str, title: str) -> None:
    assert parse("lamp-12.html", page(body, head)).title == title


def test_terms_stay_with_their_definitions() -> None:
    terms = "<dl><dt>Lens</dt><dd>Made of <b>glass</b>.</dd><dd>Turns twice a minute.</dd><dt>Horn:</dt><dd>For fog.</dd></dl>"
    text = parse("a.html", page(f"<h1>Parts</h1>{PARAGRAPHS}{terms}")).text
    assert "- Lens: Made of" in text
    assert " ".join(text.replace("*", "").split()).endswith(
        "- Lens: Made of glass. Turns twice a minute. - Horn: For fog."
    )


def test_comments_of_visitors_are_left_out() -> None:
    comment = '<article class="comment"><p>Ann: I was dizzy on the stairs, never again!</p></article>'
    comments = f'<section id="comments">{comment}</section>'
    assert "dizzy" not in parse("a.html", page(PARAGRAPHS + comments)).text


@pytest.mark.parametrize(
    ("encoding", "declaration", "word"),
    [
        ("cp1252", '<meta charset="windows-1252">', "Fähre – heute"),
        ("cp1252", '<meta http-equiv="content-type" content="text/html; charset=ISO-8859-1">', "Fähre – heute"),
        ("euc_jp", "<meta charset=euc-jp>", "灯台の見学"),
        ("gb18030", '<meta charset="GBK">', "灯塔开放"),
        ("koi8-r", '<meta charset="koi8-r">', "маяк открыт"),
        ("utf-8", '<meta charset="iso-8859-1">', "Fähre"),
    ],
)
def test_page_is_decoded_as_it_declares(encoding: str, declaration: str, word: str) -> None:
    raw = page(f"<p>{word}</p>{PARAGRAPHS}", declaration).decode().encode(encoding)
    assert word in parse("a.html", raw).text


@pytest.mark.parametrize(
    "declaration", ["", '<meta charset="utf-8">', '<meta charset="klingon">', '<meta charset="euc-jp">']
)
def test_page_that_cannot_be_decoded_is_rejected(declaration: str) -> None:
    with pytest.raises(DocumentRejected, match="Save it as UTF-8"):
        parse(
            "a.html",
            page("<p>caf\udce9 \udcff\udcfe</p>".encode("utf-8", "replace").decode(), declaration) + b"\xe9\xff\xfe",
        )


@pytest.mark.parametrize(
    "markdown",
    [
        "![A buoy](data:image/png;base64,{})",
        "![A buoy][1]\n\n[1]: <data:image/svg+xml;charset=utf-8;base64,{}>",
        '<img alt="A buoy" src="data:image/webp,{}">',
    ],
)
def test_bytes_of_images_are_left_out(markdown: str) -> None:
    text = parse("a.md", markdown.format("iVBORw0KGgo" * 50).encode()).text
    assert "iVBOR" not in text
    assert "A buoy" in text


def test_short_addresses_with_data_are_kept() -> None:
    assert (
        parse("a.md", b"Use data:text/plain,hello or data: nothing.").text
        == "Use data:text/plain,hello or data: nothing."
    )


@pytest.mark.parametrize(
    ("line", "title"), [("# About F#", "About F#"), ("# About F# ##", "About F#"), ("## C# {#c}", "C#")]
)
def test_hashes_of_a_name_are_kept(line: str, title: str) -> None:
    assert parse("a.md", line.encode()).title == title
