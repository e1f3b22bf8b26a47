"""Derive a document's title from its text or its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from mindset.text.normalization import normalize

MAX_TITLE_LENGTH = 300
"""In characters; the title is repeated in the context of every chunk."""

_HEADING = re.compile(r"#{1,2}[ \t]+(\S.*)$")
# Only `=`: a line of `-` may also be a thematic break or close front matter.
_UNDERLINE = re.compile(r"=+[ \t]*")
_FENCE = re.compile(r"[ \t]*(`{3,}(?!.*`)|~{3,})")


def first_heading(text: str) -> str | None:
    """Return the first heading of level 1 or 2 outside code, without a closing `##` and an anchor `{#name}`."""
    previous = ""
    for line, in_code in lines_and_fences(text):
        match = None if in_code else _HEADING.match(line)
        if match:
            heading = match[1].rstrip()
            if heading.endswith("}"):
                heading = heading.partition("{#")[0]
            # Closing hashes need a space before them: "F#" is a name.
            heading = heading.rstrip()
            name = heading.rstrip("#")
            if heading := heading if name and name[-1] not in " \t" else name.rstrip():
                return heading
        elif previous and not in_code and _UNDERLINE.fullmatch(line):
            return previous
        previous = "" if in_code else line.strip()
    return None


def title_from_name(uri: str) -> str:
    """Return a title made of the file's name: without its extension, with spaces for hyphens and underscores."""
    words = re.sub(r"[-_\s]+", " ", PurePosixPath(uri).stem).strip()
    return words[:1].upper() + words[1:] or uri


def single_line(title: str) -> str:
    """Return a title as one line of visible characters, truncated to `MAX_TITLE_LENGTH`."""
    return " ".join(normalize(title).split())[:MAX_TITLE_LENGTH].rstrip()


def lines_and_fences(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line and whether it is inside fenced code. The fences themselves are not."""
    fence = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match and not fence:
            fence = match[1]
            yield line, False
        elif match and match[1].startswith(fence) and line.strip() == match[1]:
            fence = ""
            yield line, False
        else:
            yield line, bool(fence)
