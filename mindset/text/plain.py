"""Strip the markup from Markdown."""

from __future__ import annotations

import re

# Constructs that may be left open match up to the end of the text and are then kept. A pattern that failed there would
# be retried at every further opening, in quadratic time.
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
# Tags of static site generators.
_TEMPLATE_TAG = re.compile(r"\{[%{].*?([%}]\}|\Z)", re.DOTALL)
# Attributes such as a heading's anchor.
_ATTRIBUTES = re.compile(r"\{[#:.][^}\n]*(\}|$)", re.MULTILINE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_MARKUP = (
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+]|>)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"\*\*|__|`+|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\n\s*\n\s*"), "\n"),
)


def plain_text(markdown: str) -> str:
    """Return the words of a Markdown text without markup, comments, HTML tags and link targets."""
    text = _COMMENT.sub(lambda match: " " if match[1] else match[0], markdown)
    text = _TEMPLATE_TAG.sub(lambda match: " " if match[1] else match[0], text)
    text = _TAG.sub(" ", _links_to_labels(text))
    text = _ATTRIBUTES.sub(lambda match: "" if match[1] else match[0], text)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def _links_to_labels(text: str) -> str:
    """Replace `[label](target)` and `![label](target)` by `label`, in one pass."""
    parts: list[str] = []
    position = 0
    while (opening := text.find("[", position)) >= 0 and (closing := text.find("]", opening)) >= 0:
        if not text.startswith("](", closing):
            parts.append(text[position : closing + 1])
            position = closing + 1
            continue
        end = text.find(")", closing)
        if end < 0:
            break
        parts += text[position:opening].removesuffix("!"), text[opening + 1 : closing]
        position = end + 1
    return "".join(parts) + text[position:]
