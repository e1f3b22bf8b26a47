"""Plain text."""

from __future__ import annotations

from mindset.parsing.document import ParsedDocument
from mindset.parsing.titles import title_from_name
from mindset.text.normalization import decode


def parse_plain_text(uri: str, raw: bytes) -> ParsedDocument:
    """Plain text; its first line, if short, is its title."""
    text = decode(raw)
    first = text.strip().partition("\n")[0].strip()
    return ParsedDocument(text, first if 0 < len(first) <= 100 else title_from_name(uri), "text/plain")
