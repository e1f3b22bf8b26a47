"""Remove links from a streamed answer unless they occur in its passages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from mindset.text.normalization import remove_invisible

REMOVED = "‹link removed›"
"""Replaces a link in an answer."""

# Upper bounds of the text that is held back. A longer word, tag or target is broken up, so that it is no longer a link.
_MAX_WORD = 2_000
_MAX_MARKUP = 1_000

_WORD = re.compile(rf"[^\s<\[\]【】]{{1,{_MAX_WORD}}}")
_LEADING = re.compile(r"[A-Za-z0-9]*")
_SCRIPT = re.compile(r"(?:javascript|vbscript|data|file|blob):", re.IGNORECASE)
_SCHEMES = ("http", "https", "ftp", "www", "javascript", "vbscript", "data", "file", "blob", "mailto", "tel", "sms")
_CODE_SUFFIXES = "js|ts|py|md|go|rs|sh|yaml|yml|json|toml|txt|html|css|sql"
_LINK = re.compile(
    r"""
      (?<!\w)(?P<script>javascript:\S | vbscript:\S | data:[\w.+-]*[/;,] | file:[/\\] | blob:\S)
    | [a-z][a-z0-9+.\-]{1,30}:[/\\]{2}
    | (?<!\w)(?:https?:\S | mailto:\S | (?:tel|sms):[+\d])
    | (?<![\w:/\\])[/\\]{2,}[\w\-]+\.\w
    | (?<!\w)www\.\S
    | (?<![\w.+%\-])[\w.+%\-]{1,200}@(?:[\w\-]+\.)+[^\W\d_]{2,}
    | (?<![\w./\\\-])(?:[\w\-]+\.)+(?:
        (?:com|net|org|info|biz|io|dev|ai|co|xyz|top|site|online|shop|club|live|link|click|icu|ru|cn|tk|uk|de|eu|gov|edu
           |example|test|invalid|onion)(?=[/:?\#]|[^\w.\-]|\.?$|\.\W)
        |(?!(?:CODE)[/?])[^\W\d_]{2,24}(?=[/?]\w))
    """.replace("CODE", _CODE_SUFFIXES),
    re.IGNORECASE | re.VERBOSE,
)
_UNFINISHED_LINK = re.compile(rf"!$|(?:{'|'.join(_SCHEMES)}):[/\\]*$|{_LINK.pattern}", _LINK.flags)
_TRAILING = ".,;:!?'\"`*_~)}>|"
_HARMLESS_TARGET = re.compile(r"[\w\s,=]*")
_HARMLESS_TAG = re.compile(r"/?\w[\w ,\-?]*/?")
_ACTIVE_TAGS = re.compile(
    "applet|audio|base|body|button|embed|form|frame|frameset|iframe|img|input|link|math|meta|object|picture|script|source|"
    "style|svg|template|track|video"
)
_ACTIVE_ATTRIBUTE = re.compile(
    r"\b(?:on\w+|src|srcset|href|style|action|formaction|data|background|poster)\s*=", re.IGNORECASE
)


class LinkFilter:
    """Filters a stream of text. The result does not depend on how the text is split into pieces.

    A word is held back as soon as it may be a link, and a tag or link target until it is closed. All other text is
    released at once. Removed text is always replaced, so that the surrounding text cannot form a link."""

    def __init__(self, texts: Iterable[str]) -> None:
        """An answer may repeat the links that occur in `texts`."""
        allowed = "\n".join(texts)
        self._allowed = f"{allowed}\n{html.unescape(allowed)}" if "&" in allowed else allowed
        self._held = ""
        self._released = 0  # characters of the word at the start of `_held`
        self._image = False  # whether the open bracket belongs to an image
        self.broken_rules: set[str] = set()
        """Names of the rules broken so far."""

    def feed(self, piece: str) -> str:
        """Return the text that can be released now."""
        self._held += remove_invisible(piece)
        return self._scan(final=False)

    def finish(self) -> str:
        """Return the text that was held back."""
        return self._scan(final=True)

    def _scan(self, *, final: bool) -> str:
        text, position = self._held, 0
        released: list[str] = []
        while position < len(text):
            match text[position]:
                case "]":
                    step = self._target(text, position, final=final)
                case "<":
                    step = self._tag(text, position, final=final)
                case character:
                    match = _WORD.match(text, position)
                    step = (
                        self._word(match[0], text[match.end() :], position, final=final)
                        if match
                        else (character, position + 1)
                    )
                    self._image = self._image and character != "\n"
            if step is None:
                released.append(self._release_lead(text[position:]))
                break
            released.append(step[0])
            position = step[1]
        self._held = text[position:]
        return "".join(released)

    def _release_lead(self, held: str) -> str:
        """Return the leading letters and digits of a word. They are kept in any case, unless they may be a scheme."""
        lead = _lead(held)
        if len(lead) <= self._released or any(scheme.startswith(lead.lower()) for scheme in _SCHEMES):
            return ""
        new, self._released = lead[self._released :], len(lead)
        return new

    def _word(self, word: str, rest: str, start: int, *, final: bool) -> tuple[str, int] | None:
        if not (rest or final) and len(word) < _MAX_WORD:
            return None
        output, self._released = self._filter_word(word)[self._released :], 0
        if len(word) == _MAX_WORD:
            output += " "
        elif rest.startswith(("[", "【", "<", "]", "】")) and _UNFINISHED_LINK.search(word):
            self._image = word.endswith("!")
            output += " "  # otherwise the word and the bracket would be an image or one link
        return output, start + len(word)

    def _filter_word(self, word: str) -> str:
        """Return the word without a link that is not allowed."""
        match = _LINK.search(word)
        if match and self._is_allowed(match, word[match.start() :]):
            return word
        unescaped = html.unescape(word) if "&" in word else word
        hidden = _LINK.search(unescaped) if unescaped != word else None
        if hidden and not self._is_allowed(hidden, unescaped[hidden.start() :]):
            return self._remove_link(word, 0)
        return self._remove_link(word, match.start()) if match else word

    def _remove_link(self, word: str, start: int) -> str:
        self.broken_rules.add("foreign-link")
        lead = _lead(word)
        if start < len(lead) and not any(scheme.startswith(lead.lower()) for scheme in _SCHEMES):
            start = len(lead)
        return word[:start] + REMOVED + word[len(word.rstrip(_TRAILING)) :]

    def _is_allowed(self, match: re.Match[str], address: str) -> bool:
        return not match["script"] and self._occurs(address.rstrip(_TRAILING))

    def _occurs(self, address: str) -> bool:
        """Return whether the address occurs in the allowed texts, and not as part of a longer one."""
        position = self._allowed.find(address) if address else -1
        is_prefix = address.endswith("/")  # of longer addresses on the same host
        while position >= 0:
            before = self._allowed[max(position - 1, 0) : position]
            after = self._allowed[position + len(address) :][:2]
            ends = not (after[:1].isalnum() or after[:1] in ("-", "_", "@", "%"))
            ends = ends and not (after[:1] in (".", ":") and after[1:].isalnum())
            if (ends or is_prefix) and not (before.isalnum() or before in ("-", "_", "@", ".")):
                return True
            position = self._allowed.find(address, position + 1)
        return False

    def _target(self, text: str, start: int, *, final: bool) -> tuple[str, int] | None:
        """Handle a closing bracket with the link target that may follow."""
        image = self._image
        if text[start + 1 : start + 2] != "(":
            if len(text) == start + 1 and not final:
                return None
            self._image = False
            return "]", start + 1
        end = _closing_parenthesis(text, start + 1)
        if end is None:
            if len(text) - start < _MAX_MARKUP and not final:
                return None
            return "] (", start + 2
        self._image = False
        inside = html.unescape(text[start + 2 : end - 1])
        address = (inside.strip().split() or [""])[0].strip("<>")
        harmless = bool(_HARMLESS_TARGET.fullmatch(inside)) or (not _SCRIPT.match(address) and self._occurs(address))
        if harmless and not image and all(self._filter_word(word) == word for word in inside.split()):
            return text[start:end], end
        self.broken_rules.add("remote-image" if image else "foreign-link")
        return f"] {REMOVED}", end

    def _tag(self, text: str, start: int, *, final: bool) -> tuple[str, int] | None:
        """Handle `<` with the tag that it may open. `<address>` is a link."""
        if len(text) == start + 1 and not final:
            return None
        if not re.match(r"[\w/!?]", text[start + 1 : start + 2]):
            return "<", start + 1
        end = text.find(">", start, start + _MAX_MARKUP) + 1
        if not end:
            return ("< ", start + 1) if final or len(text) - start >= _MAX_MARKUP else None
        inside = text[start + 1 : end - 1]
        if _LINK.match(inside) and not re.search(r"\s", inside):
            return f"<{inside}>" if self._filter_word(inside) == inside else self._remove_link(inside, 0), end
        name = re.match(r"/?([\w-]*)", inside)[1].lower()  # type: ignore[index]  # matches any text
        bare = bool(_HARMLESS_TAG.fullmatch(inside))
        occurs = f"<{inside}>" in self._allowed
        active = bool(_ACTIVE_TAGS.fullmatch(name))
        if (bare and (occurs or not active)) or (occurs and not active and not _ACTIVE_ATTRIBUTE.search(inside)):
            return text[start:end], end
        self.broken_rules.add("tag")
        return " ", end


def _lead(word: str) -> str:
    match = _LEADING.match(word)
    return match[0] if match else ""


def _closing_parenthesis(text: str, start: int) -> int | None:
    """Return the position after the parenthesis that closes the one at `start`, or None if there is none in reach."""
    depth = 0
    for position in range(start, min(len(text), start + _MAX_MARKUP)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position + 1
    return None
