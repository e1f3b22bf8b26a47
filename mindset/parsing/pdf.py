"""PDF."""

from __future__ import annotations

import re

from mindset.errors import DocumentRejected
from mindset.parsing.document import ParsedDocument
from mindset.parsing.titles import title_from_name
from mindset.text.normalization import normalize

MAX_PAGES = 5_000


def parse_pdf(uri: str, raw: bytes) -> ParsedDocument:
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
    return ParsedDocument(
        "\n\n".join(filter(None, pages)), title if named else title_from_name(uri), "text/plain", {"pages": len(pages)}
    )


def _page_text(text: str) -> str:
    """One page's text; U+FFFE and U+0002 are pdfium's marks for a word broken at a line's end."""
    text = re.sub("[\ufffe\x02][\r\n]*", "", text)
    lines = [line.strip() for line in normalize(text).encode("utf-8", "replace").decode().split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
