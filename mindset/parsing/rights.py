"""Find and read statements about who may read a document."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from mindset.errors import DocumentRejected
from mindset.parsing.titles import lines_and_fences
from mindset.text.normalization import normalize

# `acl_groups`, `x-acl`, `params.acl`, `acls`, but not `oracle`.
_SIMILAR = re.compile(r"(?:^|[\W_])acls?(?:$|[\W_\d])|^acls?[A-Z]|[a-z]Acls?(?![a-z])|ACLs?$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# A key at the start of a line, behind any punctuation except a backtick, or within braces.
_KEY = r"(?:^[^\w\n`]*|[{,]\s*[\"']?)(?:[\w-]+[._-])?acls?(?:[._-]\w+)?[\"'\s]*[:=]"
_MENTION = re.compile(_KEY, re.IGNORECASE | re.MULTILINE)
_NAME = r"[\"']?[\w.@*:/+-]+[\"']?"
# Prose may also begin with `ACL:`. A statement has a list, names separated by commas, or list items below it.
_STATEMENT = re.compile(
    _KEY + rf"[^\S\n]*(?:[\[{{].*|{_NAME}(?:\s*,\s*{_NAME})*[^\w\n#]*|)(?:\s\#.*)?$", re.IGNORECASE | re.MULTILINE
)
_DELIMITER = re.compile(r" {0,3}(-{3,}|\+{3,}|;{3,})[^\S\n]*(?:\w+)?[^\S\n]*(?:\#.*)?")


def key_name(key: Any) -> str:
    """Return a key as text. `title` and `acl` are recognized in any capitalization and width."""
    name = normalize(str(key))
    folded = unicodedata.normalize("NFKC", name).strip().casefold()
    return folded if folded in ("title", "acl") else name


def unique_keys(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the pairs as a mapping. Raises DocumentRejected if two keys are `acl`: the second one must not win."""
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        name = key_name(key)
        if name == "acl" and name in mapping:
            raise DocumentRejected("The front matter contains `acl` twice. Keep one of them.")
        mapping[name] = value
    return mapping


def reject_unread_keys(front: dict[str, Any]) -> None:
    """Raise DocumentRejected for a key that resembles `acl` but restricts nothing: nested, or another spelling."""
    for key, depth in _keys(front, 0):
        if (depth or key_name(key) != "acl") and resembles_acl(key):
            raise DocumentRejected(
                f"The front matter contains {key!r}, which has no effect. Only `acl` at its top level says who may "
                "read a document. Rename or move the key."
            )


def resembles_acl(key: str) -> bool:
    """Return whether the author of this key may have meant `acl`. Three words and more are prose with a colon."""
    folded = unicodedata.normalize("NFKC", normalize(key))
    letters = re.sub(r"[\W_\d]", "", folded).casefold()
    if letters in ("acl", "acls"):
        return True
    return len(folded.split()) <= 2 and bool(_SIMILAR.search("_".join(_CAMEL.split(folded))))


def principals(value: Any, place: str) -> tuple[str, ...]:
    """Return the sorted names in a list or a comma-separated string. Raises DocumentRejected for anything else.

    `place` says where the value is, for the message."""
    names = re.split(r"[,\n]", value) if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        stripped = [name.strip() for name in names]
        listed = [name for name in stripped if name]
        if listed and (isinstance(value, str) or len(listed) == len(names)):
            return tuple(sorted(set(listed)))
    raise DocumentRejected(f"`acl` in the {place} is {value!r}. Make it a list of principals, such as [staff].")


def mentions_rights(block: str) -> bool:
    """Return whether a block that could not be parsed has an `acl` key outside code."""
    return bool(_MENTION.search(_without_code(block)))


def states_rights(block: str) -> bool:
    """Return whether a text contains an `acl` key with principals as its value, outside code. Prose has no such value."""
    return bool(_STATEMENT.search(_without_code(block)))


def reject_rights_in_text(text: str, *, everywhere: bool) -> None:
    """Raise DocumentRejected if the text states rights in a place where they are not read.

    That is a paragraph of metadata at the top. With `everywhere`, it is also any block below a delimiter such as `---`,
    because the block of a page may have slipped below a heading or another block."""
    if "acl" not in unicodedata.normalize("NFKC", text).casefold():
        return
    lines = _without_code(text).split("\n")
    starts = [index + 1 for index, line in enumerate(lines) if everywhere and _DELIMITER.fullmatch(line)]
    for start in [_first_line(lines), *starts]:
        if states_rights("\n".join(_block(lines, start))):
            raise DocumentRejected(
                "The text contains an `acl` that is not in front matter and would have no effect. Move it into a block "
                "between two `---` lines at the top of a Markdown or HTML file, or show it as code."
            )


def _keys(value: Any, depth: int) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key), depth
            yield from _keys(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, depth + 1)


def _without_code(text: str) -> str:
    """Return the text, normalized for comparison, with empty lines in place of fenced code."""
    folded = "\n".join("" if in_code else line for line, in_code in lines_and_fences(text))
    return unicodedata.normalize("NFKC", folded)


def _first_line(lines: list[str]) -> int:
    return next((index for index, line in enumerate(lines) if line.strip()), 0)


def _block(lines: list[str], start: int) -> Iterator[str]:
    """Yield the lines of the block that starts here. It ends at a delimiter, or else at a blank line.

    A first line of punctuation, such as `***`, is a delimiter, too."""
    first = lines[start].strip() if start < len(lines) else ""
    closing = first if first and not re.search(r"\w", first) else ""
    end = next((index for index in range(start + 1, len(lines)) if _ends(lines[index], closing)), None)
    below = start + (1 if closing else 0)
    while below < len(lines) and not lines[below].strip():
        below += 1
    for index in range(below, len(lines) if end is None else end):
        if not lines[index].strip() and end is None:
            return
        yield lines[index]


def _ends(line: str, closing: str) -> bool:
    return bool(_DELIMITER.fullmatch(line)) or (bool(closing) and line.strip() == closing)
