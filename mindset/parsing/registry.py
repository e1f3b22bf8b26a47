"""The parser of each format, by the file name extension."""

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

FORMATS: dict[str, Callable[[str, bytes], ParsedDocument]] = {
    ".md": parse_markdown,
    ".markdown": parse_markdown,
    ".txt": parse_plain_text,
    ".html": parse_html,
    ".htm": parse_html,
    ".pdf": parse_pdf,
}

ISOLATED = {".html": "trafilatura", ".htm": "trafilatura", ".pdf": "pypdfium2"}
"""Formats whose parsers are native code, with the library. They are parsed in a confined child process."""


def parse(uri: str, raw: bytes) -> ParsedDocument:
    """Parse the bytes of the document at `uri` with the parser for its extension.

    Raises DocumentRejected, with reason and remedy, for an unknown extension, invalid content or an empty text."""
    extension = PurePosixPath(uri).suffix.lower()
    if extension not in FORMATS:
        unsupported = repr(extension) if extension else "a file without extension"
        raise DocumentRejected(f"No parser for {unsupported}. Supported: {', '.join(FORMATS)}.")
    parsed = FORMATS[extension](uri, raw)
    if not parsed.text.strip():
        raise DocumentRejected(
            "The document contains no text. Remove it, add text, or (for scans) run text recognition first."
        )
    if len(parsed.text) > MAX_CHARACTERS:
        raise DocumentRejected(
            f"The document has {len(parsed.text):,} characters; the maximum is {MAX_CHARACTERS:,}. Split it."
        )
    title = single_line(parsed.title) or single_line(title_from_name(uri)) or single_line(uri)
    return replace(parsed, title=title)
