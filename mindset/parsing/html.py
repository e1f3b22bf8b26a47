"""HTML."""

from __future__ import annotations

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter
from mindset.parsing.document import ParsedDocument
from mindset.parsing.titles import lines_and_fences, title_from_name
from mindset.text.normalization import decode, normalize


def parse_html(uri: str, raw: bytes) -> ParsedDocument:
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
    text = _outdented(normalize(text))
    title = front_matter.title(front) or getattr(document, "title", None) or title_from_name(uri)
    return ParsedDocument(text, title, "text/markdown", front_matter.metadata(front), front_matter.acl(front))


def _outdented(text: str) -> str:
    """Lines without the indent of the elements that they stood in, which Markdown would read as code; code keeps its own."""
    return "\n".join(line.rstrip() if in_code else line.strip() for line, in_code in lines_and_fences(text))
