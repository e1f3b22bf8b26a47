"""Where an answer may lead: links that stand in the passages stay, all others are taken out while it streams."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from mindset.text.normalization import remove_invisible

REMOVED = "‹link removed›"
"""What stands in an answer for a link."""

# What is held back has a bound: a longer word, tag or target is cut or broken up, so that it is none any more.
_LONGEST_WORD = 2_000
_LONGEST_MARKUP = 1_000

_WORD = re.compile(rf"[^\s<\[\]【】]{{1,{_LONGEST_WORD}}}")
_LEAD = re.compile(r"[A-Za-z0-9]*")
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
_OPEN = re.compile(rf"!$|(?:{'|'.join(_SCHEMES)}):[/\\]*$|{_LINK.pattern}", _LINK.flags)
_AFTER = ".,;:!?'\"`*_~)}>|"
_HARMLESS_TARGET = re.compile(r"[\w\s,=]*")
_HARMLESS_TAG = re.compile(r"/?\w[\w ,\-?]*/?")
_ACTIVE = re.compile(
    "applet|audio|base|body|button|embed|form|frame|frameset|iframe|img|input|link|math|meta|object|picture|script|source|"
    "style|svg|template|track|video"
)
_ACTS = re.compile(r"\b(?:on\w+|src|srcset|href|style|action|formaction|data|background|poster)\s*=", re.IGNORECASE)


class LinkFilter:
    """However the text is cut into pieces, the same comes out.

    Held back are a word from the first sign of a link in it, and a tag or a target that is not closed: prose flows.
    What is taken out always leaves something in its place, so that the text around it cannot join up to a link."""

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts`: what the model was shown and may repeat links of."""
        known = "\n".join(texts)
        self._known = f"{known}\n{html.unescape(known)}" if "&" in known else known
        self._held = ""
        self._said = 0  # of the word that `_held` begins with
        self._image = False
        self.broken_rules: set[str] = set()
        """Names of the rules that were broken until now."""

    def feed(self, piece: str) -> str:
        """The text that is final now."""
        self._held += remove_invisible(piece)
        return self._scanned(final=False)

    def finish(self) -> str:
        """The text that was held back."""
        return self._scanned(final=True)

    def _scanned(self, *, final: bool) -> str:
        text, at = self._held, 0
        out: list[str] = []
        while at < len(text):
            match text[at]:
                case "]":
                    step = self._target(text, at, final=final)
                case "<":
                    step = self._tag(text, at, final=final)
                case mark:
                    word = _WORD.match(text, at)
                    step = self._word(word[0], text[word.end() :], at, final=final) if word else (mark, at + 1)
                    self._image = self._image and mark != "\n"
            if step is None:
                out.append(self._begun(text[at:]))
                break
            out.append(step[0])
            at = step[1]
        self._held = text[at:]
        return "".join(out)

    def _begun(self, held: str) -> str:
        """The letters that a word begins with: they stay, whatever comes of it, unless they name a scheme."""
        lead = _lead(held)
        if len(lead) <= self._said or any(scheme.startswith(lead.lower()) for scheme in _SCHEMES):
            return ""
        told, self._said = lead[self._said :], len(lead)
        return told

    def _word(self, word: str, rest: str, at: int, *, final: bool) -> tuple[str, int] | None:
        if not (rest or final) and len(word) < _LONGEST_WORD:
            return None
        said, self._said = self._judged(word)[self._said :], 0
        if len(word) == _LONGEST_WORD:
            said += " "
        elif rest.startswith(("[", "【", "<", "]", "】")) and _OPEN.search(word):
            self._image = word.endswith("!")
            said += " "  # else this is an image, or what follows is part of the link
        return said, at + len(word)

    def _judged(self, word: str) -> str:
        """The word, without a link that is not known."""
        match = _LINK.search(word)
        if match and self._may(match, word[match.start() :]):
            return word
        plain = html.unescape(word) if "&" in word else word
        hidden = _LINK.search(plain) if plain != word else None
        if hidden and not self._may(hidden, plain[hidden.start() :]):
            return self._without(word, 0)
        return self._without(word, match.start()) if match else word

    def _without(self, word: str, start: int) -> str:
        self.broken_rules.add("foreign-link")
        lead = _lead(word)
        if start < len(lead) and not any(scheme.startswith(lead.lower()) for scheme in _SCHEMES):
            start = len(lead)
        return word[:start] + REMOVED + word[len(word.rstrip(_AFTER)) :]

    def _may(self, match: re.Match[str], address: str) -> bool:
        return not match["script"] and self._knows(address.rstrip(_AFTER))

    def _knows(self, address: str) -> bool:
        """Whether the address stands in what was shown, and not as part of a longer name."""
        at = self._known.find(address) if address else -1
        whole = address.endswith("/")  # the name is over, and what follows is below it
        while at >= 0:
            before, after = self._known[max(at - 1, 0) : at], self._known[at + len(address) :][:2]
            ends = not (after[:1].isalnum() or after[:1] in ("-", "_", "@", "%"))
            ends = ends and not (after[:1] in (".", ":") and after[1:].isalnum())
            if (ends or whole) and not (before.isalnum() or before in ("-", "_", "@", ".")):
                return True
            at = self._known.find(address, at + 1)
        return False

    def _target(self, text: str, at: int, *, final: bool) -> tuple[str, int] | None:
        """A bracket that closes, and the link's target where one follows."""
        image = self._image
        if text[at + 1 : at + 2] != "(":
            if len(text) == at + 1 and not final:
                return None
            self._image = False
            return "]", at + 1
        end = _closing(text, at + 1)
        if end is None:
            if len(text) - at < _LONGEST_MARKUP and not final:
                return None
            return "] (", at + 2
        self._image = False
        inside = html.unescape(text[at + 2 : end - 1])
        address = (inside.strip().split() or [""])[0].strip("<>")
        harmless = bool(_HARMLESS_TARGET.fullmatch(inside)) or (not _SCRIPT.match(address) and self._knows(address))
        if harmless and not image and all(self._judged(word) == word for word in inside.split()):
            return text[at:end], end
        self.broken_rules.add("remote-image" if image else "foreign-link")
        return f"] {REMOVED}", end

    def _tag(self, text: str, at: int, *, final: bool) -> tuple[str, int] | None:
        """A mark that may open a tag, with all of the tag. An address in such marks is a link."""
        if len(text) == at + 1 and not final:
            return None
        if not re.match(r"[\w/!?]", text[at + 1 : at + 2]):
            return "<", at + 1
        end = text.find(">", at, at + _LONGEST_MARKUP) + 1
        if not end:
            return ("< ", at + 1) if final or len(text) - at >= _LONGEST_MARKUP else None
        inside = text[at + 1 : end - 1]
        if _LINK.match(inside) and not re.search(r"\s", inside):
            return f"<{inside}>" if self._judged(inside) == inside else self._without(inside, 0), end
        name = re.match(r"/?([\w-]*)", inside)[1].lower()  # type: ignore[index]  # it matches anything
        bare = bool(_HARMLESS_TAG.fullmatch(inside))
        shown = f"<{inside}>" in self._known
        active = bool(_ACTIVE.fullmatch(name))
        if (bare and (shown or not active)) or (shown and not active and not _ACTS.search(inside)):
            return text[at:end], end
        self.broken_rules.add("tag")
        return " ", end


def _lead(word: str) -> str:
    match = _LEAD.match(word)
    return match[0] if match else ""


def _closing(text: str, at: int) -> int | None:
    """The place behind the parenthesis that closes the one at `at`; None where there is none within bounds."""
    depth = 0
    for here in range(at, min(len(text), at + _LONGEST_MARKUP)):
        depth += (text[here] == "(") - (text[here] == ")")
        if not depth:
            return here + 1
    return None
