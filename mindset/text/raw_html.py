"""Tell the HTML tags in a Markdown text from placeholders such as `<badge-number>`, and render blocks of raw HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import unescape

import regex

from mindset.text.stopwords import word_set

# The elements of the HTML standard and the obsolete ones that browsers still render. A tag of any other name is text: a
# placeholder, a type parameter or an element of some other XML format.
_FORMATTING = word_set(
    "a abbr acronym b bdi bdo big blink center del dfn em font i ins kbd mark marquee nobr q rb rp rt rtc ruby s samp small "
    "span strike strong sub sup tt u var wbr"
)
_BLOCKS = word_set(
    "article aside blockquote caption colgroup dd details dir div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 "
    "h6 header hgroup hr legend li main nav ol optgroup option p pre search section summary table tbody td tfoot th thead tr "
    "ul br"
)
_OTHERS = word_set(
    "address area audio base body button canvas cite code col data datalist dialog embed frame frameset head html iframe img "
    "input label link map math menu meta meter noframes noscript object output param picture progress script select slot "
    "source style svg template textarea time title track video"
)
# Blocks whose names nobody uses as a placeholder, or whose end tag is optional: a single tag is markup.
_MARKUP_ALONE = _FORMATTING | word_set(
    "br hr p li dd dt td th tr tbody thead tfoot colgroup div ul ol dl h1 h2 h3 h4 h5 h6 blockquote pre"
)
_TAG = regex.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*)(?P<rest>[^<>]*)>")

# Tags, with quoted attribute values, and comments in a block. An unclosed comment ends the block, so each character is
# read once. Contents of scripts and styles are not shown.
_MARKUP = regex.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)"
    r"|</?[A-Za-z](?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+>",
    regex.DOTALL | regex.IGNORECASE,
)


class HtmlTags:
    """Decides which of the tags of one paragraph or block are HTML."""

    def __init__(self, tags: Iterable[str]) -> None:
        """`tags` are all tags of the paragraph or block."""
        names = [(match["slash"], match["name"]) for match in map(_TAG.match, tags) if match]
        self._paired = {name for slash, name in names if slash} & {name for slash, name in names if not slash}

    def replacement(self, tag: str, before: str) -> str | None:
        """Return what a reader sees in place of the tag: nothing, or a line break; None if the tag itself is text.

        `before` is the text before it. A placeholder may have the name of an element: `<title>` that is never closed is
        text, and so is the parameter of `List<A>`."""
        match = _TAG.match(tag)
        if match is None:
            return "" if tag.startswith(("<!", "<?")) else None
        name, rest = match["name"].lower(), match["rest"].strip(" \t\n/")
        if name not in _FORMATTING | _BLOCKS | _OTHERS:
            return None
        if match["name"] not in self._paired and not rest:
            is_parameter = match["name"].isupper() and before[-1:].isalnum()
            if is_parameter or name not in _MARKUP_ALONE:
                return None
        return "\n" if name in _BLOCKS else ""


def html_block_text(html: str) -> str:
    """Return the text of a block of raw HTML, with a line for each of its blocks. Preformatted text keeps its space."""
    markup = list(_MARKUP.finditer(html))
    tags = HtmlTags(match[0] for match in markup)
    parts: list[str] = []
    position, preformatted = 0, False
    for match in markup:
        text = _text(html[position : match.start()], preformatted=preformatted)
        parts.append(text)
        shown = "" if match[0].startswith("<!--") or match[1] else tags.replacement(match[0], text)
        parts.append(match[0] if shown is None else shown)
        if name := regex.match(r"</?pre\b", match[0], regex.IGNORECASE):
            preformatted = not name[0].startswith("</")
        position = match.end()
    parts.append(_text(html[position:], preformatted=preformatted))
    return "\n".join(line for line in "".join(parts).split("\n") if line.strip())


def _text(text: str, *, preformatted: bool) -> str:
    return unescape(text if preformatted else regex.sub(r"[ \t\n]+", " ", text))
