"""Titles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from mindset.text.normalization import normalize

MAX_TITLE_LENGTH = 300  # it is repeated in every chunk's context


_HEADING = re.compile(r"#{1,2}[ \t]+(\S.*)$")


_UNDERLINE = re.compile(r"=+[ \t]*")  # one of `-` may as well be a ruler, or close front matter


_FENCE = re.compile(r"[ \t]*(`{3,}(?!.*`)|~{3,})")


def lines_and_fences(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it stands in fenced code."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            yield line, False
        elif found and found[1].startswith(fence) and line.strip() == found[1]:
            fence = ""
            yield line, False
        else:
            yield line, bool(fence)


def first_heading(text: str) -> str | None:
    """The first heading of level 1 or 2, without its closing `##` and its anchor `{#name}`; a comment in code is none."""
    before = ""
    for line, in_code in lines_and_fences(text):
        found = None if in_code else _HEADING.match(line)
        if found:
            heading = found[1].rstrip()
            if heading.endswith("}"):
                heading = heading.partition("{#")[0]
            if heading := heading.rstrip(" \t#"):
                return heading
        elif before and not in_code and _UNDERLINE.fullmatch(line):
            return before
        before = "" if in_code else line.strip()
    return None


def single_line(title: str) -> str:
    """A title as one line of what a reader can see."""
    return " ".join(normalize(title).split())[:MAX_TITLE_LENGTH].rstrip()


def title_from_name(uri: str) -> str:
    words = re.sub(r"[-_\s]+", " ", PurePosixPath(uri).stem).strip()
    return words[:1].upper() + words[1:] or uri
