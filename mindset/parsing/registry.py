"""One function a format, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from mindset.errors import DocumentRejected
from mindset.parsing.document import ParsedDocument
from mindset.parsing.html import parse_html
from mindset.parsing.markdown import parse_markdown
from mindset.parsing.pdf import parse_pdf
from mindset.parsing.plain_text import parse_plain_text
from mindset.parsing.titles import single_line, title_from_name

MAX_CHARACTERS = 50_000_000


def parse(uri: str, raw: bytes) -> ParsedDocument:
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
    title = single_line(parsed.title) or single_line(title_from_name(uri)) or single_line(uri)
    return replace(parsed, title=title)


FORMATS: dict[str, Callable[[str, bytes], ParsedDocument]] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".txt": parse_plain_text,
    ".html": parse_html,
    ".htm": parse_html,
    ".pdf": parse_pdf,
}

ISOLATED = frozenset({".html", ".htm", ".pdf"})
"""Formats whose parsers are native code: they run in a child process with limits."""
