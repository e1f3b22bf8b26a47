"""The Markdown parser."""

from __future__ import annotations

from mindset.parsing import front_matter
from mindset.parsing.document import ParsedDocument
from mindset.parsing.rights import reject_rights_in_text
from mindset.parsing.titles import first_heading, title_from_name
from mindset.text.normalization import decode, remove_data_uris


def parse_markdown(uri: str, raw: bytes) -> ParsedDocument:
    """Parse Markdown with optional front matter. The text stays Markdown. Raises DocumentRejected."""
    front, text = front_matter.split(remove_data_uris(decode(raw)))
    reject_rights_in_text(text, everywhere=True)
    title = front_matter.title(front) or first_heading(text) or title_from_name(uri)
    return ParsedDocument(text, title, "text/markdown", front_matter.metadata(front), front_matter.acl(front))
