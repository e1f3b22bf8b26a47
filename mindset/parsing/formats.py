"""One function a format, and the table of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter
from mindset.parsing.characters import decode, normalise
from mindset.parsing.document import Parsed

MAX_PAGES = 5_000
MAX_CHARACTERS = 50_000_000
MAX_TITLE = 300  # it is repeated in every chunk's context

_HEADING = re.compile(r"#{1,2}[ \t]+(\S.*)$")
_UNDERLINE = re.compile(r"=+[ \t]*")  # one of `-` may as well be a ruler, or close front matter
_FENCE = re.compile(r"[ \t]*(`{3,}(?!.*`)|~{3,})")


def parse(uri: str, raw: bytes) -> Parsed:
    """The document at `uri`, read by the format that the URI's ending names.

    Raises DocumentRejected with the reason and the remedy: unknown ending, wrong content, nothing to read."""
    ending = PurePosixPath(uri).suffix.lower()
    if ending not in FORMATS:
        raise DocumentRejected(f"No parser for {ending or 'a name without ending'!r}. Known: {', '.join(FORMATS)}.")
    parsed = FORMATS[ending](uri, raw)
    if not parsed.text.strip():
        raise DocumentRejected("Holds no text. Remove it, add text, or (for scans) run text recognition first.")
    if len(parsed.text) > MAX_CHARACTERS:
        raise DocumentRejected(
            f"Holds {len(parsed.text):,} characters; {MAX_CHARACTERS:,} is the most. Split the document."
        )
    title = _line(parsed.title) or _line(_from_name(uri)) or _line(uri)
    return replace(parsed, title=title)


def markdown(uri: str, raw: bytes) -> Parsed:
    """Markdown, with front matter: the text is the Markdown itself."""
    front, text = front_matter.split(decode(raw))
    title = front_matter.title(front) or _first_heading(text) or _from_name(uri)
    return Parsed(text, title, "text/markdown", front_matter.metadata(front), front_matter.acl(front))


def plain(uri: str, raw: bytes) -> Parsed:
    """Plain text; its first line, if short, is its title."""
    text = decode(raw)
    first = text.strip().partition("\n")[0].strip()
    return Parsed(text, first if 0 < len(first) <= 100 else _from_name(uri), "text/plain")


def html(uri: str, raw: bytes) -> Parsed:
    """The main content of a page, as Markdown; navigation and the like are left out."""
    import trafilatura  # 0.5 s: only where a page is read
    from lxml.etree import ParserError

    front, page = front_matter.split(decode(raw))
    try:
        document = trafilatura.bare_extraction(page, include_tables=True, include_links=False, favor_recall=True)
        text = trafilatura.extract(page, output_format="markdown", include_tables=True, favor_recall=True)
    except (ParserError, ValueError) as malformed:
        raise DocumentRejected(f"Is not HTML that can be read: {malformed}. Correct the page.") from None
    if not text or document is None:
        raise DocumentRejected("No main content was found in the page. Leave it out, or add text to its body.")
    text = _outdented(normalise(text))
    title = front_matter.title(front) or getattr(document, "title", None) or _from_name(uri)
    return Parsed(text, title, "text/markdown", front_matter.metadata(front), front_matter.acl(front))


def pdf(uri: str, raw: bytes) -> Parsed:
    """The text of a PDF's pages, a blank line between them."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as refused:
        if "password" in str(refused).lower():
            raise DocumentRejected("Is encrypted. Save it without a password.") from None
        raise DocumentRejected("Is not a readable PDF (damaged or cut off). Save it again from its program.") from None
    try:
        if len(document) > MAX_PAGES:
            raise DocumentRejected(f"Has {len(document)} pages; {MAX_PAGES} is the most. Split the document.")
        pages = [_page_text(page.get_textpage().get_text_bounded()) for page in document]
        title = (document.get_metadata_value("Title") or "").strip()
    except pypdfium2.PdfiumError as damaged:
        raise DocumentRejected(f"A page cannot be read ({damaged}). Save the PDF again from its program.") from None
    finally:
        document.close()
    # Programs leave "Microsoft Word - draft7.docx" and the like as title: worse than the file's name.
    named = title and not re.search(r"\.\w{2,5}$|untitled", title, re.IGNORECASE)
    return Parsed(
        "\n\n".join(filter(None, pages)), title if named else _from_name(uri), "text/plain", {"pages": len(pages)}
    )


def _page_text(text: str) -> str:
    """One page's text; U+FFFE and U+0002 are pdfium's marks for a word broken at a line's end."""
    text = re.sub("[\ufffe\x02][\r\n]*", "", text)
    lines = [line.strip() for line in normalise(text).encode("utf-8", "replace").decode().split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _outdented(text: str) -> str:
    """Lines without the indent of the elements that they stood in, which Markdown would read as code; code keeps its own."""
    return "\n".join(line.rstrip() if in_code else line.strip() for line, in_code in _lines(text))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it stands in fenced code."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            yield line, False
        elif found and found[1].startswith(fence) and line.strip() == found[1]:
            fence = ""
            yield line, False
        else:
            yield line, bool(fence)


def _first_heading(text: str) -> str | None:
    """The first heading of level 1 or 2, without its closing `##` and its anchor `{#name}`; a comment in code is none."""
    before = ""
    for line, in_code in _lines(text):
        found = None if in_code else _HEADING.match(line)
        if found:
            heading = found[1].rstrip()
            if heading.endswith("}"):
                heading = heading.partition("{#")[0]
            if heading := heading.rstrip(" \t#"):
                return heading
        elif before and not in_code and _UNDERLINE.fullmatch(line):
            return before
        before = "" if in_code else line.strip()
    return None


def _line(title: str) -> str:
    """A title as one line of what a reader can see."""
    return " ".join(normalise(title).split())[:MAX_TITLE].rstrip()


def _from_name(uri: str) -> str:
    words = re.sub(r"[-_\s]+", " ", PurePosixPath(uri).stem).strip()
    return words[:1].upper() + words[1:] or uri


FORMATS: dict[str, Callable[[str, bytes], Parsed]] = {
    ".md": markdown,
    ".markdown": markdown,
    ".txt": plain,
    ".html": html,
    ".htm": html,
    ".pdf": pdf,
}

ISOLATED = frozenset({".html", ".htm", ".pdf"})
"""Formats whose parsers are native code: they run in a child process with limits."""
