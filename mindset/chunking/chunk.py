"""A chunk: a text named by its hash, and where in its document it stands."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NewType

ChunkId = NewType("ChunkId", str)

# A rule of thumb for English under byte-pair tokenizers; a budget needs no more, and no tokenizer is then part of
# the chunking, whose result must not change with the embedding model.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """Characters `start` to `end` of a document's text, below these headings."""

    start: int
    end: int
    heading_path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A text and the context (title and headings) that is embedded with it."""

    context: str
    text: str

    @property
    def id(self) -> ChunkId:
        """32 hexadecimal digits of SHA-256; also the key of the text's vectors."""
        return ChunkId(hashlib.sha256(f"{self.context}\0{self.text}".encode()).hexdigest()[:32])

    @property
    def embedded(self) -> str:
        """What the model sees: the context, and the text without markup, which would only blur its vector."""
        return f"{self.context}\n\n{plain(self.text)}" if self.context else plain(self.text)


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


def plain(markdown: str) -> str:
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
