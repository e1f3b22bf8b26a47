"""Decode bytes to text without invisible characters."""

from __future__ import annotations

import re

from mindset.errors import DocumentRejected

# Tag characters, variation selectors, zero-width and bidirectional controls hide instructions from readers but not from
# models (OWASP Top 10 for LLM applications, prompt injection). Postgres stores neither NUL nor lone surrogates.
_INVISIBLE = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef\ufe00-\ufe0f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\u00ad"
    "\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]"
)


_DATA_URI = re.compile(r"data:[\w.+-]{1,80}/[\w.+-]{1,80}(?:;[\w=.+-]{1,80}){0,5},[^\s\"'<>)]{40,}", re.IGNORECASE)


def decode(raw: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, and normalize it. Raises DocumentRejected for anything else."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in raw[:65_536]:
        raise DocumentRejected(
            "The file contains binary data instead of text. Give it the extension of its real format."
        )
    try:
        return normalize(raw.decode(encoding))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DocumentRejected(
            f"The file is not valid {encoding.upper().removesuffix('-SIG')}: byte {error.start} (line {line}). "
            "Save it as UTF-8."
        ) from None


def normalize(text: str) -> str:
    """Return the text with `\\n` as its only line end and without invisible characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x0b", "\n").replace("\x85", "\n")
    return _INVISIBLE.sub("", text)


def remove_data_uris(text: str) -> str:
    """Shorten addresses that contain a whole file, such as an image, to `data:`: their bytes are no text."""
    return _DATA_URI.sub("data:", text)


def remove_invisible(text: str) -> str:
    """Return the text without invisible characters. Works on pieces of a text as on the whole."""
    return _INVISIBLE.sub("", text)
