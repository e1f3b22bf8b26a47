"""Instructions hidden in documents: what the model is shown instead, and what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mindset.retrieval.passage import Passage

_AI = r"(?:ai|llm|assistant|language\s+model|chat\s*bot|large\s+language\s+model|gpt|agent|model)s?"

# What stands in a passage is data, and the prompt says so. These are sentences that speak to whoever reads for somebody
# else: measured on the 18F guides and this project's documentation, they find next to nothing in honest text.
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "override",
            (
                r"\b(?:ignore|disregard|forget|override|bypass|skip|drop|do\s+not\s+follow|stop\s+following)\b[^.\n]{0,60}"
                r"\b(?:instructions?|rules?|prompts?|guidelines|directions|constraints|restrictions|guardrails|policies)\b"
            ),
        ),
        (
            "override",
            (
                r"\b(?:ignore|disregard|forget)\b[^.\n]{0,30}\b(?:everything|all|anything)\b[^.\n]{0,30}"
                r"\b(?:above|before|previous(?:ly)?|said|told|so\s+far)\b"
            ),
        ),
        ("override", r"\b(?:new|updated|real|actual|following)\s+(?:system\s+)?instructions?\s*(?:are|is|follow)?\s*:"),
        ("role", r"(?:<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?(?:system|assistant|user|human|tool)(?:\s[^>]*)?>)"),
        ("role", r"(?:^|\n)\s*(?:#+\s*)?(?:system|assistant|developer|human)\s*(?:message|prompt)?\s*:"),
        (
            "leak",
            (
                r"\b(?:reveal|print|show|repeat|output|display|leak|tell|give|recite|write\s+out|quote|translate|summari[sz]e)\b"
                r"[^.\n]{0,60}\b(?:system|hidden|initial|original|secret|internal)\s+(?:prompt|instructions?|message|text|rules)\b"
            ),
        ),
        (
            "leak",
            r"\b(?:repeat|print|output|recite)\b[^.\n]{0,30}\b(?:words|text|everything|all)\b[^.\n]{0,20}\babove\b",
        ),
        (
            "identity",
            (
                r"\b(?:you\s+are\s+(?:now|no\s+longer)|from\s+now\s+on,?\s+you|pretend\s+(?:to\s+be|you\s+are|that\s+you)|"
                r"act\s+as\s+(?:if\s+you|an?\s+(?:unrestricted|unfiltered|jailbroken|evil))|developer\s+mode|do\s+anything\s+now|"
                r"jail\s*break|you\s+have\s+no\s+(?:rules|restrictions))\b"
            ),
        ),
        (
            "addressed",
            (
                rf"\b(?:note|message|instructions?|attention|important|reminder|command|order)s?\s*(?:to|for)\s+(?:the\s+|any\s+|all\s+)?"
                rf"{_AI}\b|\b(?:if|when|since|because)\s+you\s+are\s+an?\s+{_AI}\b|\b(?:dear|hey|hello|attention),?\s+{_AI}\b"
            ),
        ),
        (
            "answer",
            (
                r"\b(?:include|add|append|insert|embed|put|end|begin|start|finish|render|place|link|mention)\b[^.\n]{0,80}"
                r"\b(?:in|into|to|at\s+the\s+(?:end|start|beginning)\s+of|with)\s+(?:your|every|each|all|the)\s+"
                r"(?:final\s+)?(?:answer|response|repl(?:y|ies)|output)s?\b"
            ),
        ),
        (
            "answer",
            (
                r"\b(?:you\s+must|you\s+should|always|only|instead,?|now)\s+(?:respond|reply|answer|say|output|cite|link)\b"
                r"[^.\n]{0,40}(?:\bwith\b|\bonly\b|\bexactly\b|\bthat\b|https?:|\[\d+\]|[\"“'])"
            ),
        ),
        (
            "answer",
            (
                r"\b(?:respond|reply|answer|output|say)\s+(?:only\s+|exactly\s+|nothing\s+but\s+|just\s+)?(?:with\s+)?"
                r"(?:the\s+(?:word|phrase|sentence|text)|[\"“]|https?:)"
            ),
        ),
        ("answer", r"\bcite\b[^.\n]{0,40}\[\d+\]"),
        (
            "encoded",
            r"\b(?:decode|execute|run|follow|obey)\b[^.\n]{0,40}\b(?:base64|rot13|hex|encoded|morse|payload)\b",
        ),
        ("encoded", r"\b(?:base64|rot13)\b[^.\n]{0,40}\b(?:decode|follow|obey|execute)\b"),
    )
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(\s*<?(?:https?:)?//[^)\s]*[^)]*\)", re.IGNORECASE)
_SCRIPT_URI = re.compile(r"\b(?:javascript|vbscript|data)\s*:[^\s)]*[,;(/][^\s)]*", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s)[^.!?\n]*)*(?:[.!?]+|\n|\Z)")

REMOVED = "(A sentence of the document that gives instructions to its reader's assistant was left out.)"
"""What stands in a prompt for it."""


def neutralised(passages: Sequence[Passage]) -> tuple[list[Passage], tuple[str, ...]]:
    """The passages as a model may read them, and the rules that their texts broke; what people are shown stays."""
    found: set[str] = set()
    clean = []
    for passage in passages:
        text, broken = inert(passage.text)
        found |= broken
        clean.append(replace(passage, text=text) if text != passage.text else passage)
    return clean, tuple(sorted(found))


def inert(text: str) -> tuple[str, set[str]]:
    """A text without comments, remote images and sentences that instruct whoever reads it for somebody else."""
    found: set[str] = set()
    for name, pattern, instead in (
        ("comment", _COMMENT, ""), ("remote-image", _IMAGE, r"\1"), ("script-link", _SCRIPT_URI, ""),
    ):  # fmt: skip
        text, count = pattern.subn(instead, text)
        if count and name != "comment":  # honest documents have comments
            found.add(name)
    spans = [(match.start(), match.end(), name) for name, rule in _RULES for match in rule.finditer(_folded(text))]
    if not spans:
        return text, found
    parts, at = [], 0
    for sentence in _SENTENCE.finditer(text):
        if sentence.start() < at or not sentence[0]:
            continue
        broken = {name for start, end, name in spans if start < sentence.end() and end > sentence.start()}
        found |= {f"injected-{name}" for name in broken}
        if not broken:
            parts.append(sentence[0])
        elif not (parts and parts[-1].startswith(REMOVED)):
            parts.append(f"{REMOVED}\n")
        at = sentence.end()
    return "".join(parts), found


def _folded(text: str) -> str:
    """The text with look-alikes of the same length made plain, so that places in it stay places in the text."""
    return text.translate(_LOOK_ALIKE)


_LOOK_ALIKE = {
    **dict(zip(map(ord, "аеіорсухѕԁһјӏ"), "aeiopcyxsdhjl", strict=True)),
    **dict(zip(map(ord, "АВЕЅІЈКМНОРСТУХ"), "ABESIJKMHOPCTYX", strict=True)),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    0xA0: " ", 0x2019: "'",
}  # fmt: skip
