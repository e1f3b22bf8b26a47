"""Render Markdown as plain text: what a reader of the rendered page sees.

Markup is what the Markdown parser's tokens say it is; no pattern looks for markup in the source, so code, placeholders and
words such as `__init__` keep every character."""

from __future__ import annotations

from markdown_it.token import Token

from mindset.text.inline import inline_text
from mindset.text.markdown_parser import parse_markdown
from mindset.text.raw_html import html_block_text


def plain_text(markdown: str) -> str:
    """Return the text of a document or a part of one, with a line for each heading, paragraph, list item and table row.

    Markup, comments, HTML tags, link targets and reference marks are left out. Code is kept as it is."""
    return join_lines(token_lines(parse_markdown(markdown)))


def token_lines(tokens: list[Token]) -> list[str]:  # noqa: C901, PLR0912  # one case for each kind of token
    """Return the text of each block in order. The cells of a table row are joined by ` | `."""
    lines: list[str] = []
    numbers: list[int | None] = []  # the next number of each open list; None if it has bullets
    prefix = ""
    in_heading = False
    cells: list[str] | None = None
    for token in tokens:
        match token.type:
            case "inline":
                text = inline_text(token, in_heading=in_heading)
                if cells is not None:
                    cells.append(" ".join(text.split()))
                elif text:
                    lines.append(prefix + text)
                    prefix = ""
            case "fence" | "code_block":
                lines.append(token.content.removesuffix("\n"))
            case "html_block":
                lines.append(html_block_text(token.content))
            case "heading_open" | "heading_close":
                in_heading = token.nesting > 0
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1) if token.attrGet("start") != 0 else 0)
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                number = numbers[-1]
                prefix = "" if number is None else f"{number}{token.markup} "
                numbers[-1] = None if number is None else number + 1
            case "list_item_close":
                prefix = ""
            case "tr_open":
                cells = []
            case "tr_close":
                lines.append(" | ".join(cells or []))
                cells = None
    return lines


def join_lines(lines: list[str]) -> str:
    """Join the lines that contain something."""
    return "\n".join(line for line in lines if line.strip()).strip()
