"""The HTML parser."""

from __future__ import annotations

import re
from typing import Any

from mindset.errors import DocumentRejected
from mindset.parsing import front_matter
from mindset.parsing.document import ParsedDocument
from mindset.parsing.rights import key_name, principals, reject_rights_in_text, resembles_acl
from mindset.parsing.titles import first_heading, lines_and_fences, title_from_name
from mindset.text.normalization import decode, normalize, remove_data_uris

# `<meta charset="...">` and `<meta http-equiv="Content-Type" content="...; charset=...">`, as browsers look for them.
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
# What browsers read under these names is a superset (https://encoding.spec.whatwg.org/#names-and-labels).
_ENCODINGS = {
    "ascii": "cp1252", "us-ascii": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin1": "cp1252",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932",
    "x-sjis": "cp932", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "big5": "big5hkscs", "iso-8859-9": "cp1254",
}  # fmt: skip


def parse_html(uri: str, raw: bytes) -> ParsedDocument:
    """Extract the main content of a page as Markdown, without navigation and the like. Raises DocumentRejected."""
    import trafilatura  # importing it takes 0.5 s
    from lxml.etree import ParserError

    front, page = front_matter.split(remove_data_uris(_decode(raw)))
    try:
        text = trafilatura.extract(
            _join_definitions(page),
            output_format="markdown",
            include_tables=True,
            include_comments=False,
            favor_recall=True,
        )
    except (ParserError, ValueError) as error:
        raise DocumentRejected(f"The page is not valid HTML: {error}. Correct it.") from None
    if not text:
        raise DocumentRejected("The page has no main content. Exclude it, or add text to its body.")
    text = _remove_indent(normalize(text))
    reject_rights_in_text(text, everywhere=False)
    title = front_matter.title(front) or _title(page) or first_heading(text) or title_from_name(uri)
    return ParsedDocument(text, title, "text/markdown", front_matter.metadata(front), _acl(front, page))


def _decode(raw: bytes) -> str:
    """Decode a page: UTF-8, or else the encoding that it declares. Raises DocumentRejected."""
    try:
        return decode(raw)
    except DocumentRejected:
        declared = _CHARSET.search(raw[:4_096])
        if declared is None:
            raise
        label = declared[1].decode("ascii").lower()
        try:
            return normalize(raw.decode(_ENCODINGS.get(label, label)))
        except (LookupError, UnicodeDecodeError) as error:
            raise DocumentRejected(
                f"The page declares the encoding {label}, but it cannot be read with it ({error}). Save it as UTF-8."
            ) from None


def _join_definitions(page: str) -> str:
    """Make each term of a definition list and its definitions one list item, so that they stay together."""
    if "<dl" not in page.lower():
        return page
    from lxml import etree, html

    # As bytes: lxml refuses a string that declares its encoding.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True)
    root = html.document_fromstring(page.encode("utf-8", "replace"), parser=parser)
    for definitions in list(root.iter("dl")):
        definitions.tag = "ul"
        term: Any = None
        for child in list(definitions.iter("dt", "dd")):
            if child.tag == "dt" or term is None:
                term, child.tag = child, "li"
                continue
            before = "".join(term.itertext()).strip()
            etree.SubElement(term, "span").text = (
                ": " if term.find("span") is None and not before.endswith(":") else " "
            )
            child.tag = "span"
            child.tail = None
            term.append(child)
    return str(html.tostring(root, encoding="unicode"))


def _title(page: str) -> str:
    """Return the page's only heading of level 1, or else its `<title>`; empty if it has neither."""
    from lxml import etree

    root = etree.fromstring(page.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8", huge_tree=True))
    if root is None:
        return ""
    headings, titles = (
        [" ".join("".join(each.itertext()).split()) for each in root.iter(tag)] for tag in ("h1", "title")
    )
    return headings[0] if len(headings) == 1 and headings[0] else next(filter(None, titles), "")


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
