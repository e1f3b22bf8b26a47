"""The PDF parser."""

from __future__ import annotations

import re
from typing import Any

from mindset.errors import DocumentRejected
from mindset.parsing.document import ParsedDocument
from mindset.parsing.titles import title_from_name
from mindset.text.normalization import normalize

MAX_PAGES = 5_000

# Programs store file names such as "Microsoft Word - draft7.docx" as the title. The name of the file is better then.
_USELESS_TITLE = re.compile(r"\.\w{2,5}$|untitled", re.IGNORECASE)


def parse_pdf(uri: str, raw: bytes) -> ParsedDocument:
    """Extract the text of all pages, separated by blank lines. Raises DocumentRejected."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise DocumentRejected("The PDF is encrypted. Save it without a password.") from None
        raise DocumentRejected(
            "The file is not a readable PDF (damaged or truncated). Save it again from its program."
        ) from None
    try:
        if len(document) > MAX_PAGES:
            raise DocumentRejected(f"The PDF has {len(document)} pages; the maximum is {MAX_PAGES}. Split it.")
        document.init_forms()  # before the pages are loaded
        pages = [_read_page(document, page) for page in document]
        title = (document.get_metadata_value("Title") or "").strip()
    except pypdfium2.PdfiumError as error:
        raise DocumentRejected(f"A page of the PDF cannot be read ({error}). Save it again from its program.") from None
    finally:
        document.close()
    if not title or _USELESS_TITLE.search(title):
        title = title_from_name(uri)
    return ParsedDocument("\n\n".join(filter(None, pages)), title, "text/plain", {"pages": len(pages)})


def _read_page(document: Any, page: Any) -> str:
    from mindset.parsing.pdf_form import field_lines  # imports pypdfium2, as above

    text = page.get_textpage().get_text_bounded()
    values = field_lines(document.formenv, page) if document.formenv else []
    return _page_text("\n\n".join([text, "\n".join(values)]))


def _page_text(text: str) -> str:
    """Clean the text of a page. pdfium marks words that are hyphenated at a line end with U+FFFE or U+0002."""
    text = re.sub("[\ufffe\x02][\r\n]*", "", text)
    lines = [line.strip() for line in normalize(text).encode("utf-8", "replace").decode().split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
