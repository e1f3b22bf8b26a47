"""Instructions to whoever reads a text for somebody else: where they stand, and the text without them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from functools import lru_cache

from mindset.text.normalization import remove_invisible

_AI = r"(?:ai|llm|assistant|language\s+model|chat\s*bot|large\s+language\s+model|gpt|agent|model)s?"

_Rules = tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]
"""Name, words without any of which it cannot match (they are looked for first, which is ten times as fast), and pattern."""


def _compiled(rules: Iterable[tuple[str, str, str]]) -> _Rules:
    return tuple((name, tuple(words.split()), re.compile(pattern)) for name, words, pattern in rules)


# What stands in a passage is data, and the prompt says so. These are sentences that speak to whoever reads for somebody
# else: measured on the 18F guides and this project's documentation, they find next to nothing in honest text.
_RULES = _compiled(
    (
        (
            "override",
            "ignore disregard forget follow",
            (
                r"\b(?:ignore|disregard|forget|do\s+not\s+follow|stop\s+following)\b[^.\n]{0,60}"
                r"\b(?:instructions?|rules?|prompts?|guidelines|directions|constraints|restrictions|guardrails|policies)\b"
            ),
        ),
        (
            "override",
            "override bypass skip drop",
            r"\b(?:override|bypass|skip|drop)\b[^.\n]{0,60}\b(?:instructions|prompts?|guardrails|restrictions|your\s+rules)\b",
        ),
        (
            "override",
            "ignore disregard forget",
            (
                r"\b(?:ignore|disregard|forget)\b[^.\n]{0,30}\b(?:everything|all|anything)\b[^.\n]{0,30}"
                r"\b(?:above|before|previous(?:ly)?|said|told|so\s+far)\b"
            ),
        ),
        (
            "override",
            "instruction",
            r"\b(?:new|updated|real|actual|following)\s+(?:system\s+)?instructions?\s*(?:are|is|follow)?\s*:",
        ),
        (
            "role",
            "<| [inst [/inst <<sys <</sys <system </system <assistant </assistant <user </user <human </human <tool </tool",
            r"(?:<\|[a-z_]+\|>|\[/?inst\]|<</?sys>>|</?(?:system|assistant|user|human|tool)(?:\s[^>]*)?>)",
        ),
        (
            "leak",
            "prompt instruction message text rules",
            (
                r"\b(?:reveal|print|show|repeat|output|display|leak|tell|give|recite|write\s+out|quote|translate|summari[sz]e)\b"
                r"[^.\n]{0,60}\b(?:system|hidden|initial|original|secret|internal)\s+(?:prompt|instructions?|message|text|rules)\b"
            ),
        ),
        (
            "leak",
            "above",
            r"\b(?:repeat|print|output|recite)\b[^.\n]{0,30}\b(?:words|text|everything|all)\b[^.\n]{0,20}\babove\b",
        ),
        (
            "identity",
            "you pretend act developer jail anything",
            (
                r"\b(?:you\s+are\s+(?:now|no\s+longer)|from\s+now\s+on,?\s+you|pretend\s+(?:to\s+be|you\s+are|that\s+you)|"
                r"act\s+as\s+(?:if\s+you|an?\s+(?:unrestricted|unfiltered|jailbroken|evil))|developer\s+mode|do\s+anything\s+now|"
                r"jail\s*break|you\s+have\s+no\s+(?:rules|restrictions))\b"
            ),
        ),
        (
            "addressed",
            "ai llm assistant language chat gpt agent model",
            (
                rf"\b(?:note|message|instruction|attention|important|reminder)s?\s*(?:to|for)\s+(?:the\s+|any\s+|all\s+)?"
                rf"{_AI}\b|\b(?:if|when|since|because)\s+you\s+are\s+an?\s+{_AI}\b|\b(?:dear|hey|hello|attention),?\s+{_AI}\b"
            ),
        ),
        (
            "answer",
            "answer response repl output",
            (
                r"\b(?:include|add|append|insert|embed|put|end|begin|start|finish|render|place|link|mention)\b[^.\n]{0,80}"
                r"\b(?:in|into|to|at\s+the\s+(?:end|start|beginning)\s+of|with)\s+(?:your|every|each|all|the)\s+"
                r"(?:final\s+)?(?:answer|response|repl(?:y|ies)|output)s?\b"
            ),
        ),
        (
            "answer",
            "you only always instead now",
            (
                r"\b(?:you\s+must|you\s+should|always|only|instead,?|now)\s+(?:respond|reply|answer|say|output|cite|link)\b"
                r"[^.\n]{0,40}(?:\bwith\b|\bonly\b|\bexactly\b|\bthat\b|https?:|\[\d+\]|[\"“'])"
            ),
        ),
        (
            "answer",
            "respond reply answer output say",
            (
                r"\b(?:respond|reply|answer|output|say(?=\s+(?:only|exactly|nothing)))\s+(?:only\s+|exactly\s+|nothing\s+but\s+|just\s+)?(?:with\s+)?"
                r"(?:the\s+(?:word|phrase|sentence|text)|[\"“]|https?:)"
            ),
        ),
        ("answer", "cite", r"\bcite\b[^.\n]{0,40}(?:\[\d+\]|\b(?:passage|source|document)s?\s+\d)"),
        (
            "answer",
            "answer response repl output",
            (
                r"\b(?:your|every|each|all|the\s+next|the\s+final)\s+(?:answer|response|reply|replies|output)s?\s+"
                r"(?:must|should|has\s+to|have\s+to|needs?\s+to|shall|will)\b"
            ),
        ),
        (
            "answer",
            "answer response repl",
            r"\b(?:start|begin|end|finish|conclude|preface|prefix)\s+(?:your|every|each|all)\s+(?:answer|response|repl(?:y|ies))",
        ),
        (
            "answer",
            "user reader customer human person",
            (
                r"\b(?:tell|inform|instruct|urge|convince|advise)\s+(?:the|your|every|all)\s+(?:user|reader|customer|human|person)s?\b"
                r"[^\n]{0,60}(?:https?:|www\.|\bpassword|\bcredentials?\b|\bcredit\s+card)"
            ),
        ),
        (
            "exfiltration",
            "http www @ send post forward mail transmit upload exfiltrate leak submit",
            (
                r"\b(?:send|post|forward|e-?mail|transmit|upload|exfiltrate|leak|submit)\b[^.\n]{0,60}\b(?:conversation|chat\s+history|"
                r"user'?s?\s+(?:question|data|message)|question|api\s+keys?|passwords?|secrets?|credentials|context|passages)\b"
                r"[^\n]{0,40}(?:https?:|www\.|[\w.]+@\w|\bto\s+\w+\.\w)"
            ),
        ),
        (
            "role",
            "passage question context document instruction conversation im_start tool_call function_call",
            r"</?(?:passages?|question|context|documents?|instructions?|conversation|im_start|tool_calls?|function_calls?)\s*>",
        ),
        (
            "override",
            "ignor missacht verg oublie olvid desconsider игнорир 忽略 无视 忘记 無視 忘れ 무시",
            (
                r"\b(?:ignorier\w*|missachte\w*|vergiss|vergessen\s+sie)\b[^.\n]{0,40}\b(?:anweisung|regel|vorgabe|instruktion)\w*|"
                r"\b(?:ignore[zr]?|oublie[zr]?)\b[^.\n]{0,40}\b(?:instructions?|consignes?|règles?)\b|"
                r"\b(?:ignor[aeá]\w*|olvid[ae]\w*|desconsider[ae]\w*)\b[^.\n]{0,40}\b(?:instrucciones|instruções|reglas|regras|istruzioni|regole)\b|"
                r"\bигнорируй\w*[^.\n]{0,40}(?:инструкци|указани|правил)\w*|"
                r"(?:忽略|无视|忘记)[^。\n]{0,16}(?:指令|指示|说明|规则|提示)|(?:指示|命令|ルール)を?(?:すべて)?(?:無視|忘れ)|(?:지시|명령|규칙)[^.\n]{0,8}무시"
            ),
        ),
        (
            "leak",
            "zeig verrat gib nenn affiche révèle montre muestra revela",
            (
                r"\b(?:zeige?|verrate?|gib|nenne)\b[^.\n]{0,30}\b(?:system-?\s?prompt|systemanweisung)\w*|"
                r"\b(?:affiche|révèle|montre|muestra|revela)[rz]?\b[^.\n]{0,30}\b(?:prompt|instructions?|instrucciones)\s+(?:système|syst|del\s+sistema|système)"
            ),
        ),
        (
            "encoded",
            "base64 rot13 hex encoded morse payload",
            r"\b(?:decode|execute|run|follow|obey)\b[^.\n]{0,40}\b(?:base64|rot13|hex|encoded|morse|payload)\b",
        ),
        ("encoded", "base64 rot13", r"\b(?:base64|rot13)\b[^.\n]{0,40}\b(?:decode|follow|obey|execute)\b"),
    )
)
# What begins a line. They are asked of the text as it stands: in others a sentence may go on in the next line.
_LINES = _compiled(
    (
        (
            "role",
            "system assistant developer human",
            r"(?:^|\n)\s*(?:#+\s*)?(?:system|assistant|developer|human)\s*(?:message|prompt)?\s*:",
        ),
        (
            "role",
            "begin end start",
            r"(?:^|\n)\W*(?:begin|end|start)\s+(?:of\s+)?(?:system|new|admin|hidden|developer)\s*(?:prompt|message|instructions?)?[^\w\n]*(?:\n|$|of\b|for\b)",
        ),
        (
            "role",
            "end close",
            r"(?:^|\n)\W*(?:end|close)\s+of\s+(?:the\s+)?(?:passages?|context|documents?|data|input)\b",
        ),
    )
)
_UNSEEN = (
    ("comment", re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL), ""),
    (
        "comment",
        re.compile(r"^ {0,3}\[[^\]\n]*\]:[ \t]*<?#?>?[ \t]*(?:\([^\n]*\)|\"[^\n]*\")[ \t]*$", re.MULTILINE),
        "",
    ),
    (
        "hidden-element",
        re.compile(
            r"<(\w+)\b[^<>]*(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])|"
            r"color\s*:\s*(?:white|#fff(?:fff)?|transparent)\b)[^<>]*>.*?(?:</\1\s*>|\Z)",
            re.DOTALL | re.IGNORECASE,
        ),
        "",
    ),
    ("remote-image", re.compile(r"!\[([^\]\n]*)\]\(\s*<?(?:https?:)?//[^)\s]*[^)]*\)", re.IGNORECASE), r"\1"),
    ("remote-image", re.compile(r"<img\b[^<>]*\bsrc\s*=\s*[\"']?\s*(?:https?:)?//[^<>]*>", re.IGNORECASE), ""),
    ("script-link", re.compile(r"\b(?:javascript|vbscript|data)\s*:[^\s)]*[,;(/][^\s)]*", re.IGNORECASE), ""),
)
"""What a reader does not see, or what calls somebody when it is shown."""

_WRAPPED = re.compile(
    r"(?<=[\w,;])\n(?=[^\W\d_])(?<!instructions\n)(?<!message\n)(?<!prompt\n)(?!(?:system|assistant|developer|human|begin|end|start|close)\b)"
)
_SPELT_OUT = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)(?:all|any|the|your|these|those|of|my){0,3}"
    r"(?:previous|prior|above|earlier|preceding|system)(?:the|system)?(?:instruction|prompt|rule|guideline|direction|message)s?"
    r"|(?:reveal|print|show|repeat|output|display|leak)(?:me|us)?(?:the|your|its)?(?:full|entire|whole|hidden|initial)?systemprompt"
)
_SPELT_OUT_WORDS = ("ignore", "disregard", "forget", "override", "bypass", "systemprompt")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_BASE64 = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/])")
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s)[^.!?\n]*)*(?:[.!?]+|\n|\Z)")

REMOVED = "(A sentence of the document that gives instructions to its reader's assistant was left out.)"
"""What stands in a prompt for it."""


@lru_cache(maxsize=4_096)  # the same chunks are found again and again, and never change
def remove_instructions(text: str) -> tuple[str, frozenset[str]]:
    """A text without comments, hidden elements, remote images and sentences that instruct whoever reads it for somebody
    else, and the names of the rules that it broke."""
    found: set[str] = set()
    text = remove_invisible(text)
    for name, pattern, instead in _UNSEEN:
        unseen = [match[0] for match in pattern.finditer(text)]
        if unseen and name not in ("comment", "hidden-element"):  # which honest documents have
            found.add(name)
        found |= {f"injected-{rule}" for each in unseen for *_, rule in find_instructions(each)}
        text = pattern.sub(instead, text) if unseen else text
    spans = find_instructions(text)
    if not spans:
        return text, frozenset(found)
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
    return "".join(parts), frozenset(found)


def find_instructions(text: str) -> list[tuple[int, int, str]]:
    """Start and end of each, and the rule that it breaks."""
    folded = _small(text.translate(_LOOK_ALIKE))
    flowing = _WRAPPED.sub(" ", folded)
    spans = {*_matches(_RULES, flowing), *_matches(_LINES, folded), *_spelt_out(folded), *_encoded(text)}
    if _FOLDED.search(text):
        spans |= set(_matches(_RULES, _small(text)))  # languages of these letters, and marks that end no sentence
    return sorted(spans)


def _small(text: str) -> str:
    """In small letters, of the same length."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(each if len(each.lower()) > 1 else each.lower() for each in text)


def _matches(rules: _Rules, text: str) -> Iterator[tuple[int, int, str]]:
    for name, words, rule in rules:
        if _any_of(words, text):
            yield from ((match.start(), match.end(), name) for match in rule.finditer(text))


def _spelt_out(folded: str) -> Iterator[tuple[int, int, str]]:
    """Instructions whose letters are set apart: `i g n o r e`, `I-G-N-O-R-E`, `ig**no**re`."""
    letters = _NO_LETTERS.sub("", folded)
    if not _any_of(_SPELT_OUT_WORDS, letters):
        return
    for match in _SPELT_OUT.finditer(letters):
        places = [at for at, mark in enumerate(folded) if not _NO_LETTERS.match(mark)]
        start, end = places[match.start()], places[match.end() - 1] + 1
        if (end - start) - len(match[0]) not in range(1, 6):  # with spaces between words, other rules know better
            yield start, end, "override"


def _encoded(text: str) -> Iterator[tuple[int, int, str]]:
    """Base64 that decodes to an instruction."""
    for match in _BASE64.finditer(text):
        try:
            decoded = b64decode(match[0] + "=" * (-len(match[0]) % 4), validate=True).decode().lower()
        except ValueError:
            continue
        if any(_matches(_RULES, decoded)) or any(_matches(_LINES, decoded)):
            yield match.start(), match.end(), "encoded"


def _any_of(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)


# Letters and marks that become others: Cyrillic ones, and those of full width.
_FOLDED = re.compile("[\u0400-\u052f\uff01-\uff5e]")

# Of the same length, so that places in the one are places in the other.
_LOOK_ALIKE = {
    **dict(zip(map(ord, "аеіорсухѕԁһјӏ"), "aeiopcyxsdhjl", strict=True)),
    **dict(zip(map(ord, "АВЕЅІЈКМНОРСТУХ"), "ABESIJKMHOPCTYX", strict=True)),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    0xA0: " ", 0x2019: "'",
}  # fmt: skip


def injection_rules(question: str) -> tuple[str, ...]:
    """Names of the rules that a question breaks. It is only noted: who asks about such attacks asks in their words."""
    return tuple(sorted({f"injected-{name}" for _, _, name in find_instructions(question)}))
