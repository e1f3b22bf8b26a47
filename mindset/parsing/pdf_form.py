"""The values of the fields of a PDF form, which are no part of its pages' text."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pypdfium2.raw as pdfium


def field_lines(form: Any, page: Any) -> list[str]:
    """Return `name: value` for each filled field of a page, in its order. `form` is the document's form environment."""
    lines: dict[str, None] = {}  # an ordered set: a field may have several widgets
    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        try:
            if pdfium.FPDFAnnot_GetSubtype(annotation) == pdfium.FPDF_ANNOT_WIDGET:
                value = _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation).strip()
                name = _string(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
                name = name or _string(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
                if value and value != "Off":  # an empty check box
                    lines[f"{name}: {value}"] = None
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return list(lines)


def _string(read: Callable[..., int], form: Any, annotation: Any) -> str:
    """Call a function of PDFium that writes UTF-16 into a buffer and returns its length in bytes, with the final NUL."""
    length = read(form, annotation, None, 0)
    buffer = ctypes.create_string_buffer(length)
    read(form, annotation, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw[: length - 2].decode("utf-16-le", errors="replace")
