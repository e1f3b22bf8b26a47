"""Detect and remove instructions to an assistant that are hidden in documents (prompt injection)."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache

from mindset.guardrails.injection_patterns import HIDDEN_CONTENT, LINE_RULES, SENTENCE_RULES, Rules
from mindset.text.normalization import remove_invisible

Span = tuple[int, int, str]
"""Start, end and name of the broken rule."""

REMOVED = "(A sentence of the document that gives instructions to its reader's assistant was left out.)"
"""Replaces a removed sentence in the prompt."""

# A line break within a sentence.
_WRAPPED = re.compile(
    r"(?<=[\w,;])\n(?=[^\W\d_])(?<!instructions\n)(?<!message\n)(?<!prompt\n)(?!(?:system|assistant|developer|human|begin|end|start|close)\b)"
)
_SPELLED_OUT = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)(?:all|any|the|your|these|those|of|my){0,3}"
    r"(?:previous|prior|above|earlier|preceding|system)(?:the|system)?(?:instruction|prompt|rule|guideline|direction|message)s?"
    r"|(?:reveal|print|show|repeat|output|display|leak)(?:me|us)?(?:the|your|its)?(?:full|entire|whole|hidden|initial)?systemprompt"
)
_SPELLED_OUT_WORDS = ("ignore", "disregard", "forget", "override", "bypass", "systemprompt")
_NON_LETTERS = re.compile(r"[\W\d_]+")
_BASE64 = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/])")
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s)[^.!?\n]*)*(?:[.!?]+|\n|\Z)")

# Cyrillic and full-width characters.
_FOLDABLE = re.compile("[\u0400-\u052f\uff01-\uff5e]")
# Characters that resemble ASCII ones. Each is replaced by one character, so that positions stay the same.
_LOOK_ALIKE = {
    **dict(zip(map(ord, "аеіорсухѕԁһјӏ"), "aeiopcyxsdhjl", strict=True)),
    **dict(zip(map(ord, "АВЕЅІЈКМНОРСТУХ"), "ABESIJKMHOPCTYX", strict=True)),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    0xA0: " ", 0x2019: "'",
}  # fmt: skip

# Hidden content that ordinary documents have too; on its own it breaks no rule.
_COMMON_IN_DOCUMENTS = ("comment", "hidden-element")


def injection_rules(question: str) -> tuple[str, ...]:
    """Return the names of the rules that a question breaks. They are only noted: a question may quote an attack."""
    return tuple(sorted({f"injected-{name}" for _, _, name in find_instructions(question)}))


@lru_cache(maxsize=4_096)  # the same chunks are retrieved again and again, and never change
def remove_instructions(text: str) -> tuple[str, frozenset[str]]:
    """Remove comments, hidden elements, remote images and sentences that instruct an assistant.

    Return the remaining text and the names of the broken rules."""
    broken_rules: set[str] = set()
    text = remove_invisible(text)
    for name, pattern, replacement in HIDDEN_CONTENT:
        hidden = [match[0] for match in pattern.finditer(text)]
        if hidden and name not in _COMMON_IN_DOCUMENTS:
            broken_rules.add(name)
        broken_rules |= {f"injected-{rule}" for content in hidden for *_, rule in find_instructions(content)}
        text = pattern.sub(replacement, text) if hidden else text
    spans = find_instructions(text)
    if not spans:
        return text, frozenset(broken_rules)
    parts: list[str] = []
    position = 0
    for sentence in _SENTENCE.finditer(text):
        if sentence.start() < position or not sentence[0]:
            continue
        names = {name for start, end, name in spans if start < sentence.end() and end > sentence.start()}
        broken_rules |= {f"injected-{name}" for name in names}
        if not names:
            parts.append(sentence[0])
        elif not (parts and parts[-1].startswith(REMOVED)):
            parts.append(f"{REMOVED}\n")
        position = sentence.end()
    return "".join(parts), frozenset(broken_rules)


def find_instructions(text: str) -> list[Span]:
    """Return the spans of all instructions in a text, sorted."""
    folded = _lower(text.translate(_LOOK_ALIKE))
    joined_lines = _WRAPPED.sub(" ", folded)
    spans = {
        *_matches(SENTENCE_RULES, joined_lines), *_matches(LINE_RULES, folded), *_spelled_out(folded), *_encoded(text)
    }  # fmt: skip
    if _FOLDABLE.search(text):
        # Again without folding, for languages that are written in these letters and full-width punctuation.
        spans |= set(_matches(SENTENCE_RULES, _lower(text)))
    return sorted(spans)


def _lower(text: str) -> str:
    """Return the text in lower case with its length unchanged, so that positions stay the same."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(character if len(character.lower()) > 1 else character.lower() for character in text)


def _matches(rules: Rules, text: str) -> Iterator[Span]:
    for name, keywords, pattern in rules:
        if _contains_any(keywords, text):
            yield from ((match.start(), match.end(), name) for match in pattern.finditer(text))


def _spelled_out(folded: str) -> Iterator[Span]:
    """Find instructions with separated letters: `i g n o r e`, `I-G-N-O-R-E`, `ig**no**re`."""
    letters = _NON_LETTERS.sub("", folded)
    if not _contains_any(_SPELLED_OUT_WORDS, letters):
        return
    for match in _SPELLED_OUT.finditer(letters):
        positions = [position for position, character in enumerate(folded) if not _NON_LETTERS.match(character)]
        start, end = positions[match.start()], positions[match.end() - 1] + 1
        # With spaces only between words, the sentence rules are more precise.
        if (end - start) - len(match[0]) not in range(1, 6):
            yield start, end, "override"


def _encoded(text: str) -> Iterator[Span]:
    """Find base64 that decodes to an instruction."""
    for match in _BASE64.finditer(text):
        try:
            decoded = b64decode(match[0] + "=" * (-len(match[0]) % 4), validate=True).decode().lower()
        except ValueError:
            continue
        if any(_matches(SENTENCE_RULES, decoded)) or any(_matches(LINE_RULES, decoded)):
            yield match.start(), match.end(), "encoded"


def _contains_any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
