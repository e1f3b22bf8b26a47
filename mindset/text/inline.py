"""Render the inline markup of one paragraph, heading or table cell of Markdown as text."""

from __future__ import annotations

import regex
from markdown_it.token import Token

from mindset.text.raw_html import HtmlTags

# A link that consists of this is a reference mark, if it stands where one does.
_MARK = regex.compile(r"\[?\^?(?:\d{1,3}|[*†‡§¶↑↩#])\]?")
# Reference marks whose definition is elsewhere in the document: `[^note]`, and `[3]` at the end of a clause. Code, as in
# `argv[1]` and `[1-5]`, and ranges are no marks. `[^a-z]` is a class of characters.
_FOOTNOTE = r"\[\^(?:\d{1,4}|[^\W\d]\w+(?:-\w{2,})*)\]"
_NUMBER = (
    r"(?<![^\W\d_])(?:\[[1-9]\d{0,2}\]){1,8}+(?=\s*(?:[.,;:!?)]|\Z)|\s+\n)|(?<=[.!?])(?:\[[1-9]\d{0,2}\]){1,8}+(?=\s)"
)
_REFERENCES = regex.compile(rf"(?<![ \t])[ \t]*+(?:{_FOOTNOTE}|{_NUMBER})")
_FOOTNOTE_DEFINITION = regex.compile(rf"{_FOOTNOTE}:[ \t]+")
_CLAUSE_END = regex.compile(r"\s*(?:[.,;:!?)]|\Z)")

# `regex`, because possessive quantifiers of `re` match wrongly before Python 3.11.5.
# Lines of tags of a static site generator, `{% include x %}`, and of attributes, `{: .note}`.
_TEMPLATE_LINES = regex.compile(
    r"(?:^|(?<=\n))[ \t]*+(?:(?:\{%(?:[^%{]|%(?!\})|\{(?!%))*+%\}\s*?)+|\{:[^{}\n]*+\})[ \t]*+(?:\n|\Z)"
)
_HEADING_ATTRIBUTES = regex.compile(r"(?<!\s)\s*+\{[#:.][^{}\n]*\}\s*\Z")
_SPACES = regex.compile(r"[ \t]+")
_LINE_BREAK = regex.compile(r" ?\n ?")


def inline_text(token: Token, *, in_heading: bool = False) -> str:
    """Return the text of an `inline` token, with its line breaks."""
    text = _Runs(token.children or []).text().strip()
    return _HEADING_ATTRIBUTES.sub("", text) if in_heading else text


def consists_of_links(token: Token) -> bool:
    """Return whether all words of an `inline` token are the text of links that have one."""
    depth, linked = 0, False
    for child in token.children or []:
        depth += child.nesting * (child.type in ("link_open", "link_close"))
        has_words = child.type in ("text", "code_inline", "image") and any(map(str.isalnum, child.content))
        if has_words and not depth:
            return False
        linked = linked or (has_words and child.markup != "autolink")
    return linked


class _Runs:
    """Runs of prose and of code. Only prose is searched for reference marks, and only its spaces are joined."""

    def __init__(self, children: list[Token]) -> None:
        self._runs: list[str] = []
        self._prose: list[str] = []
        self._tags = HtmlTags(child.content for child in children if child.type == "html_inline")
        self._read(children)
        self._end_prose()

    def text(self) -> str:
        """Return the whole text."""
        return "".join(self._runs)

    def _read(self, children: list[Token]) -> None:
        position = 0
        while position < len(children):
            child = children[position]
            match child.type:
                case "text":
                    self._prose.append(child.content)
                case "softbreak" | "hardbreak":
                    self._prose.append("\n")
                case "code_inline":
                    self._end_prose()
                    self._runs.append(child.content)
                case "html_inline":
                    shown = self._tags.replacement(child.content, self._prose[-1] if self._prose else "")
                    self._prose.append(child.content if shown is None else shown)
                case "image":
                    self._read(child.children or [])
                case "link_open":
                    position = self._read_link(children, position)
            position += 1

    def _read_link(self, children: list[Token], start: int) -> int:
        """Read a link and return the position of its end. A link that is a reference mark is left out."""
        end, depth = start + 1, 1
        while end < len(children) and depth:
            depth += children[end].nesting * (children[end].type in ("link_open", "link_close"))
            end += 1
        inside = children[start + 1 : end - 1]
        label = "".join(child.content for child in inside)
        if _MARK.fullmatch(label) and self._is_reference(children, start, end, label):
            while self._prose and not self._prose[-1].rstrip():
                self._prose.pop()
            if self._prose:
                self._prose[-1] = self._prose[-1].rstrip()
        else:
            self._read(inside)
        return end - 1

    def _is_reference(self, children: list[Token], start: int, end: int, label: str) -> bool:
        link = children[start]
        if not label.isdigit() or "label" in link.meta or str(link.attrGet("href")).startswith("#"):
            return True
        before = self._prose[-1][-1:] if self._prose else ""
        after = children[end].content if end < len(children) and children[end].type == "text" else ""
        ends_clause = end == len(children) or bool(after and _CLAUSE_END.match(after))
        return (before.isalnum() or before in (".", ")", '"', "”")) or (ends_clause and len(label) < 3 and before != "")

    def _end_prose(self) -> None:
        prose = "".join(self._prose)
        self._prose = []
        if not prose:
            return
        if "{" in prose:
            prose = _TEMPLATE_LINES.sub("", prose)
        if "[" in prose:
            prose = _FOOTNOTE_DEFINITION.sub("", prose) if prose.startswith("[^") else prose
            prose = _REFERENCES.sub("", prose)
        self._runs.append(_LINE_BREAK.sub("\n", _SPACES.sub(" ", prose)))
