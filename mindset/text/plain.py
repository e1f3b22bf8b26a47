"""Markdown reduced to its words."""

from __future__ import annotations

import re

# What may be opened and never closed is matched up to its end all the same and then left as it is: a pattern that
# fails there would be tried again at every opening behind it, in quadratic time.
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)


_TEMPLATE_TAG = re.compile(r"\{[%{].*?([%}]\}|\Z)", re.DOTALL)  # of static site generators


_ATTRIBUTES = re.compile(r"\{[#:.][^}\n]*(\}|$)", re.MULTILINE)  # such as a heading's anchor


_MARKUP = (
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+]|>)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"\*\*|__|`+|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\n\s*\n\s*"), "\n"),
)


_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def plain_text(markdown: str) -> str:
    """Markdown's words without its markup."""
    text = _COMMENT.sub(lambda found: " " if found[1] else found[0], markdown)
    text = _TEMPLATE_TAG.sub(lambda found: " " if found[1] else found[0], text)
    text = _TAG.sub(" ", _links_as_labels(text))
    text = _ATTRIBUTES.sub(lambda found: "" if found[1] else found[0], text)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def _links_as_labels(text: str) -> str:
    """`[label](target)` and `![label](target)` as `label`, in one pass."""
    parts: list[str] = []
    at = 0
    while (opens := text.find("[", at)) >= 0 and (closes := text.find("]", opens)) >= 0:
        if not text.startswith("](", closes):
            parts.append(text[at : closes + 1])
            at = closes + 1
            continue
        end = text.find(")", closes)
        if end < 0:
            break
        parts += text[at:opens].removesuffix("!"), text[opens + 1 : closes]
        at = end + 1
    return "".join(parts) + text[at:]
