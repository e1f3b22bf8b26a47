"""What an answer may not say, taken out while it streams: links that no passage has, and the words of the system."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 40_000
"""Characters of the longest answer."""

LEAK_WORDS = 12
"""So many words of the system's text in a row are no accident."""

REMOVED = "‹link removed›"

_URL = re.compile(r"(?:(?:https?|ftp|file)://|\bwww\.|(?<![\w:/])//(?=[\w-]+\.))[^\s<>\[\]()\"'`|]+", re.IGNORECASE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]\n]|\[[^\[\]\n]*\]){0,400})\]\(([^()\n]{0,2000}(?:\([^()\n]*\)[^()\n]*)*)\)")
_SCRIPT = re.compile(r"\b(?:javascript|vbscript|data)\s*:[^\s)\]]*[,;(/][^\s)\]]*", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|area|audio|base|body|button|embed|form|frame|head|html|iframe|img|input|link|map|math|meta|object|picture|"
    r"script|source|style|svg|template|title|video)(?:[\s/][^<>]{0,2000})?>",
    re.IGNORECASE,
)
_AUTOLINK = re.compile(r"<((?:[a-z][a-z0-9+.-]{1,30}:|//)[^<>\s]{0,2000})>", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_HELD = 3_000


def links_of(texts: Iterable[str]) -> frozenset[str]:
    """Every address that stands in these texts."""
    found: set[str] = set()
    for text in texts:
        found |= {_bare(match[0]) for match in _URL.finditer(text)}
        found |= {_bare(match[3].split()[0].strip("<>")) for match in _LINK.finditer(text) if match[3].split()}
        found |= {_bare(match[1]) for match in _AUTOLINK.finditer(text)}
    return frozenset(found - {""})


class AnswerGuard:
    """Lets through what may be said; however the text is cut into pieces, the same comes out.

    Holds back the word that is not over yet, and a link or a tag that is not closed."""

    def __init__(self, allowed: frozenset[str], system: str = "", passages: Iterable[str] = ()) -> None:
        self._allowed = allowed
        quoted = {run for text in passages for run in _runs(_words(text))}
        self._secret = frozenset(_runs(_words(system))) - quoted
        self._held = ""
        self._last_words: list[str] = []
        self._length = 0
        self.broken: set[str] = set()
        """Names of the rules that were broken until now."""

    @property
    def leaked(self) -> bool:
        """Whether the system's text came out: then nothing of the answer counts."""
        return "leaked-system-text" in self.broken

    @property
    def too_long(self) -> bool:
        """Whether more was said than may be."""
        return self._length >= LONGEST

    def feed(self, piece: str) -> str:
        """The text that is final now."""
        self._held += piece
        cut = _decided(self._held)
        final, self._held = self._held[:cut], self._held[cut:]
        return self._released(final)

    def finish(self) -> str:
        """The text that was held back."""
        final, self._held = self._held, ""
        return self._released(final)

    def _released(self, text: str) -> str:
        if not text or self.leaked or self.too_long:
            return ""
        text = self._filtered(text)
        if self._secret:
            self._last_words += _words(text)
            if not self._secret.isdisjoint(_runs(self._last_words)):
                self.broken.add("leaked-system-text")
                return ""
            del self._last_words[: -LEAK_WORDS + 1]
        text = text[: LONGEST - self._length]
        self._length += len(text)
        return text

    def _filtered(self, text: str) -> str:
        text = _TAG.sub(self._no_tag, text)
        text = _AUTOLINK.sub(lambda match: match[0] if self._may(match[1]) else self._no_link(), text)
        before = None
        while text != before:  # a link may stand in a link
            before = text
            text = _LINK.sub(self._link, text)
        text = _SCRIPT.sub(lambda _: self._no_link(), text)
        return _URL.sub(lambda match: match[0] if self._may(match[0]) else self._no_link(match[0]), text)

    def _link(self, match: re.Match[str]) -> str:
        image, said, target = match.groups()
        address = target.split()[0].strip("<>") if target.split() else ""
        if not image and self._may(address):
            return f"{said} {address}" if said != address else address
        self.broken.add("remote-image" if image else "foreign-link")
        return str(said)

    def _no_tag(self, _match: re.Match[str]) -> str:
        self.broken.add("tag")
        return ""

    def _no_link(self, said: str = "") -> str:
        self.broken.add("foreign-link")
        return REMOVED + said[len(said.rstrip(".,;:!?")) :]

    def _may(self, address: str) -> bool:
        return _bare(address) in self._allowed


def _bare(address: str) -> str:
    return address.rstrip(".,;:!?*_")


def _words(text: str) -> list[str]:
    return [each.lower() for each in _WORD.findall(text)]


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + LEAK_WORDS]) for at in range(len(words) - LEAK_WORDS + 1)}


def _decided(text: str) -> int:
    """How much of the text will mean the same whatever follows: whole words, outside of anything that is open."""
    cut = _word_at(text, len(text))
    for at, mark in enumerate(text):
        if at >= cut:
            break
        if mark in "[<":
            end = _end_of_link(text, at) if mark == "[" else _end_of_tag(text, at)
            if end is None or end > cut:
                cut = min(cut, _word_at(text, at))
    return cut if len(text) - cut < _HELD else len(text)


def _word_at(text: str, at: int) -> int:
    """Where the word begins that a place is in."""
    return max(text.rfind(" ", 0, at), text.rfind("\n", 0, at)) + 1


def _end_of_link(text: str, at: int) -> int | None:
    """Where a bracket and the parenthesis right behind it are over; None where that cannot be told yet."""
    close = _closing(text, at, "[", "]")
    if close is None or close == len(text):
        return None
    if text[close] != "(":
        return close
    return _closing(text, close, "(", ")")


def _closing(text: str, at: int, opening: str, closing: str) -> int | None:
    """The place behind the mark that closes the one at `at`; behind that one where its line ends first, None where
    neither has come."""
    depth = 0
    for here in range(at, len(text)):
        if text[here] == "\n":
            return at + 1
        depth += (text[here] == opening) - (text[here] == closing)
        if not depth:
            return here + 1
    return None


def _end_of_tag(text: str, at: int) -> int | None:
    if at + 1 < len(text) and not (text[at + 1].isalpha() or text[at + 1] == "/"):
        return at + 1
    close = text.find(">", at)
    return close + 1 if close >= 0 else None
