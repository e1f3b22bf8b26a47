"""The parser of plain text."""

from __future__ import annotations

from mindset.parsing.document import ParsedDocument
from mindset.parsing.rights import reject_rights_in_text
from mindset.parsing.titles import title_from_name
from mindset.text.normalization import decode

_MAX_TITLE_LINE = 100


def parse_plain_text(uri: str, raw: bytes) -> ParsedDocument:
    """Parse plain text. A first line of at most 100 characters is the title.

    Raises DocumentRejected, also for an `acl` at the top: plain text has no front matter, so it would have no effect."""
    text = decode(raw)
    reject_rights_in_text(text, everywhere=False)
    first_line = text.strip().partition("\n")[0].strip()
    title = first_line if 0 < len(first_line) <= _MAX_TITLE_LINE else title_from_name(uri)
    return ParsedDocument(text, title, "text/plain")
