"""Bytes to characters, without those that a reader cannot see and a model would."""

from __future__ import annotations

import re

from mindset.errors import DocumentRejected

# Tag characters, variation selectors, zero-width and bidirectional controls: used to hide instructions in text
# (OWASP Top 10 for LLM applications, prompt injection). NUL, other controls and lone surrogates have no place in Postgres
# text either.
_INVISIBLE = re.compile(
    "[\U000e0000-\U000e007f\U000e0100-\U000e01ef\ufe00-\ufe0f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\u00ad"
    "\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]"
)


def decode(raw: bytes) -> str:
    """UTF-8 (or UTF-16 with its mark) as text with `\\n` line ends. Raises DocumentRejected for anything else."""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in raw[:65_536]:
        raise DocumentRejected(
            "Holds binary data where text was expected. Give the file the ending of its real format."
        )
    try:
        return normalize(raw.decode(encoding))
    except UnicodeDecodeError as broken:
        line = raw[: broken.start].count(b"\n") + 1
        raise DocumentRejected(
            f"Is not valid {encoding.upper().removesuffix('-SIG')}: byte {broken.start} (line {line}). "
            "Save the file as UTF-8."
        ) from None


def normalize(text: str) -> str:
    """One kind of line end, and nothing invisible."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x0b", "\n").replace("\x85", "\n")
    return _INVISIBLE.sub("", text)


def remove_invisible(text: str) -> str:
    """The text without invisible characters; of a part of a text, the part of the result."""
    return _INVISIBLE.sub("", text)
