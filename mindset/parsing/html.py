"""The HTML parser."""

from __future__ import annotations

from typing import Any

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter
from mindset.parsing.document import ParsedDocument
from mindset.parsing.rights import key_name, principals, reject_rights_in_text, resembles_acl
from mindset.parsing.titles import lines_and_fences, title_from_name
from mindset.text.normalization import decode, normalize


def parse_html(uri: str, raw: bytes) -> ParsedDocument:
    """Extract the main content of a page as Markdown, without navigation and the like. Raises DocumentRejected."""
    import trafilatura  # importing it takes 0.5 s
    from lxml.etree import ParserError

    front, page = front_matter.split(decode(raw))
    try:
        document = trafilatura.bare_extraction(page, include_tables=True, include_links=False, favor_recall=True)
        text = trafilatura.extract(page, output_format="markdown", include_tables=True, favor_recall=True)
    except (ParserError, ValueError) as error:
        raise DocumentRejected(f"The page is not valid HTML: {error}. Correct it.") from None
    if not text or document is None:
        raise DocumentRejected("The page has no main content. Exclude it, or add text to its body.")
    text = _remove_indent(normalize(text))
    reject_rights_in_text(text, everywhere=False)
    title = front_matter.title(front) or getattr(document, "title", None) or title_from_name(uri)
    return ParsedDocument(text, title, "text/markdown", front_matter.metadata(front), _acl(front, page))


def _acl(front: dict[str, Any], page: str) -> tuple[str, ...] | None:
    """Return the principals in the front matter or in `<meta name="acl" content="...">`. Raises DocumentRejected."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True)
    root = etree.fromstring(page.encode("utf-8", "replace"), parser)
    declared = [front_matter.acl(front)] if "acl" in front else []
    for meta in () if root is None else root.iter("meta"):
        for attribute in ("name", "property", "itemprop", "http-equiv"):
            name = meta.get(attribute, "")
            if key_name(name) == "acl":
                declared.append(principals(normalize(meta.get("content", "")), "`meta` element of the page"))
            elif resembles_acl(name):
                raise DocumentRejected(f"The page has a `meta` element {name!r}, which has no effect. Use `acl`.")
    if len(declared) > 1:
        raise DocumentRejected("The page says twice who may read it. Keep one `acl`.")
    return declared[0] if declared else None


def _remove_indent(text: str) -> str:
    """Remove the indent of nested elements, which Markdown would treat as code. Fenced code keeps its indent."""
    return "\n".join(line.rstrip() if in_code else line.strip() for line, in_code in lines_and_fences(text))
