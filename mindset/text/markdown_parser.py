"""The parser of Markdown with its inline markup."""

from __future__ import annotations

import re
from types import SimpleNamespace

from markdown_it import MarkdownIt, helpers
from markdown_it.helpers.parse_link_destination import _Result as Destination
from markdown_it.token import Token

# A link target that a site generator fills in: `[guide]({{ "/guide" | url }})`. CommonMark allows no space in a target, so
# the source of the link would be text.
_TEMPLATE = re.compile(r"\{\{[^{}\n]*\}\}[^\s()<>]*|\{%[^%\n]*%\}[^\s()<>]*")


def _link_destination(source: str, position: int, maximum: int) -> Destination:
    if template := _TEMPLATE.match(source, position, maximum):
        result = Destination()
        result.ok, result.pos, result.str = True, template.end(), "#"
        return result
    return helpers.parseLinkDestination(source, position, maximum)


def _parser() -> MarkdownIt:
    # `store_labels` tells links that refer to a definition (`[3]`) from those with a target.
    parser = MarkdownIt("commonmark", {"store_labels": True}).enable(["table", "strikethrough"])
    parser.helpers = SimpleNamespace(
        parseLinkLabel=helpers.parseLinkLabel,
        parseLinkTitle=helpers.parseLinkTitle,
        parseLinkDestination=_link_destination,
    )  # type: ignore[assignment]  # the parser only reads these attributes
    return parser


_PARSER = _parser()


def parse_markdown(text: str) -> list[Token]:
    """Return the tokens of a text. Takes linear time."""
    tokens = _PARSER.parse(text)
    last = tokens[-1] if tokens else None
    if last and last.type == "fence" and not last.content and not last.info and len(tokens) > 1:
        # A fence that opens at the end: the text is a part of a document, and begins within this code.
        end = text.rstrip().rfind("\n")
        if not any(token.type == "fence" for token in tokens[:-1]):
            code = Token("fence", "code", 0, map=[0, last.map[0] if last.map else 0])
            code.content = text[: end + 1]
            return [code]
    return tokens


def parse_heading(source: str) -> Token:
    """Return the token of a heading's text, or of another text that has inline markup only."""
    return _PARSER.parseInline(source)[0]
