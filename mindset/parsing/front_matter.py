"""Front matter: the block at the top of a file, in YAML, TOML or JSON, with title, ACL and metadata.

A thematic break or an example in JSON may also start a text. The rule: what parses as a mapping is front matter, unless its
keys are sentences or a blank line follows the first break. What does not parse is rejected if it begins with a key. Whatever
contains an `acl` is front matter or rejected.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from mindset.errors import DocumentRejected
from mindset.parsing.front_matter_languages import LANGUAGES, MALFORMED, read_json_prefix
from mindset.parsing.rights import (
    key_name,
    mentions_rights,
    principals,
    reject_rights_in_text,
    reject_unread_keys,
    resembles_acl,
    states_rights,
    unique_keys,
)
from mindset.text.normalization import normalize

# Authors put linter switches, licenses and declarations above the block.
_PREAMBLE = re.compile(r"(?:\s|<!--.*?-->|<\?xml.*?\?>|<!doctype[^>]*>|%YAML[^\n]*\n)*+", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(r"(?P<mark>---|\+\+\+|;;;)(?P<kind>\w*)(?P<more>[^\n]*)(?:\n|\Z)")
_COMMENT = re.compile(r"[^\S\n]*(?:\#.*)?")
_DEFAULT_KINDS = {"---": "yaml", "+++": "toml", ";;;": "json"}
# No text starts with `---` and one of these words, whereas `---cut---` may be text.
_SCRIPTS = frozenset({"js", "javascript", "ts", "typescript", "coffee", "cson", "json5", "jsonc", "hjson"})
# The first line below the mark, or below comments, is a key, a table or a mapping in braces.
_FIRST_KEY = re.compile(
    r"""(?:[^\S\n]*\#.*\n)*[^\S\n]*(?:(?:["'][^"'\n]*["']|[\w.-]+)[^\S\n]*[:=](?:\s|\Z|["'\[])|\?\s|\[\w[\w.]*\]\s*$"""
    r"""|\{(?![{%\#:.])|<<:)""",
    re.MULTILINE,
)

_CLOSING_BRACE = re.compile(r"^\}", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n\s*\n")


def split(text: str) -> tuple[dict[str, Any], str]:
    """Return the front matter and the rest of the text. A script (`---js`) is removed.

    Raises DocumentRejected if the block is not closed or malformed, or if it states rights in a form that is not read.
    It must not be ignored, because it may contain the ACL."""
    match = _PREAMBLE.match(text)
    start = match.end() if match else 0
    if states_rights(text[:start]):
        raise DocumentRejected("A comment contains an `acl`, which has no effect. Move it into front matter.")
    if text.startswith("{", start):
        return _json_at_the_top(text, start)
    opening = _OPENING.match(text, start)
    if not opening:
        return _not_front_matter(text)
    kind = (opening["kind"] or _word(opening["more"]) or _DEFAULT_KINDS[opening["mark"]]).lower()
    if kind not in LANGUAGES and kind not in _SCRIPTS:
        return _not_front_matter(text)
    indent = text[text.rfind("\n", 0, start) + 1 : start]
    marks = r"(?:---|\.\.\.)" if opening["mark"] == "---" else re.escape(opening["mark"])
    closing = re.compile(rf"^{re.escape(indent)}{marks}{_COMMENT.pattern}(?:\n|\Z)", re.MULTILINE).search(
        text, opening.end()
    )
    stated = bool(opening["kind"])
    if not closing:
        paragraph = re.split(r"\n\s*\n", text[opening.end() :].lstrip(), maxsplit=1)[0]
        if stated or _FIRST_KEY.match(text, opening.end()) or states_rights(paragraph):
            raise DocumentRejected(
                f"The front matter is not closed. End it with a line that contains only `{opening['mark']}`."
            )
        return _not_front_matter(text)
    front = _read(text[opening.end() : closing.start()], kind, stated)
    return _not_front_matter(text) if front is None else (front, text[closing.end() :])


def title(front: dict[str, Any]) -> str | None:
    """Return the title in the front matter, or None if it is missing, empty or not a string."""
    value = front.get("title")
    return value.strip() if isinstance(value, str) and value.strip() else None


def acl(front: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the sorted principals in `acl`, or None without `acl`. A comma-separated string is a list.

    Raises DocumentRejected for anything but names."""
    return principals(front["acl"], "front matter") if "acl" in front else None


def metadata(front: dict[str, Any]) -> dict[str, Any]:
    """Return all other keys whose values are scalars or flat lists of scalars, as JSON allows them."""
    scalars = (str, int, float, bool)

    def is_supported(value: Any) -> bool:
        if isinstance(value, list):
            return not any(isinstance(item, list) for item in value) and all(map(is_supported, value))
        return isinstance(value, scalars) and not (isinstance(value, float) and not math.isfinite(value))

    return {key: value for key, value in front.items() if key not in ("title", "acl") and is_supported(value)}


def _word(more: str) -> str:
    """Return the word behind the opening mark (`--- yaml`), "" if there is nothing but a comment, or else "?"."""
    if _COMMENT.fullmatch(more):
        return ""
    word = more.partition("#")[0].strip().lower()
    return word if word in LANGUAGES or word in _SCRIPTS else "?"


def _json_at_the_top(text: str, start: int) -> tuple[dict[str, Any], str]:
    """Read a JSON object. With neither `title` nor `acl` it is an example and stays in the text."""
    try:
        value, length = read_json_prefix(text[start:])
    except MALFORMED as error:
        closing = _CLOSING_BRACE.search(text, start) or _BLANK_LINE.search(text, start)
        block = text[start : closing.end() if closing else len(text)]
        if mentions_rights(block) and not block.startswith(("{{", "{%")):
            _reject_malformed("JSON", error)
        return _not_front_matter(text)
    line, _, rest = text[start + length :].partition("\n")
    front = _checked(value)
    if "acl" in front and line.strip():
        raise DocumentRejected("Text follows the front matter in its last line. Begin the text in a line of its own.")
    if line.strip() or not ("acl" in front or "title" in front):
        return _not_front_matter(text)
    return front, rest


def _read(block: str, kind: str, stated: bool) -> dict[str, Any] | None:
    """Return the mapping in a closed block, or None if the block is text."""
    if kind in _SCRIPTS:
        if re.search("acl", block, re.IGNORECASE):
            raise DocumentRejected(f"`acl` is not read from a `{kind}` block. Write the front matter in YAML.")
        return {}
    language, read = LANGUAGES[kind]
    try:
        value = read(block)
    except MALFORMED as error:
        if stated or _FIRST_KEY.match(block) or mentions_rights(block):
            _reject_malformed(language, error)
        return None
    if value is None:
        return {}
    if not isinstance(value, dict):
        if mentions_rights(block) or (stated and block.strip()):
            _reject_malformed(language, ValueError("it is not a mapping"))
        return None
    if not stated and _is_prose(block, value):
        return None
    front = _checked(value)
    # YAML reads ` acl = staff` below `title: Pay` as more of the title. A comment is not a statement.
    if "acl" not in front and states_rights(re.sub(r"^[^\S\n]*\#.*$", "", block, flags=re.MULTILINE)):
        raise DocumentRejected("The front matter contains an `acl` within another value. Begin its line with `acl:`.")
    return front


def _is_prose(block: str, value: dict[Any, Any]) -> bool:
    """Return whether a mapping is prose with a colon between two thematic breaks, such as `Note: a ruler is above.`"""
    keys = list(map(key_name, value))
    return not any(key == "title" or resembles_acl(key) for key in keys) and (
        block.startswith("\n") or all(" " in key for key in keys)
    )


def _checked(value: dict[Any, Any]) -> dict[str, Any]:
    plain = {key: _plain(item) for key, item in unique_keys(value.items()).items()}
    reject_unread_keys(plain)
    return plain


def _not_front_matter(text: str) -> tuple[dict[str, Any], str]:
    reject_rights_in_text(text, everywhere=False)
    return {}, text


def _reject_malformed(language: str, error: BaseException) -> NoReturn:
    reason = " ".join(str(error).split())
    raise DocumentRejected(f"The front matter is not valid {language}: {reason}. Correct it.") from None


def _plain(value: Any) -> Any:
    """Convert dates to text, because metadata is JSON, and normalize strings, because escapes can hide characters."""
    if isinstance(value, dict):
        return {normalize(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else normalize(str(value))
