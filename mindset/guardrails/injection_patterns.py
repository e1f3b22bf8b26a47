"""The patterns of instructions and hidden content that `injection` searches for."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Agents and models alone are also people and things: "Note to agents: hold the cargo".
_AI = r"(?:(?:ai\s+)?(?:ai|llm|assistant|language\s+model|chat\s*bot|large\s+language\s+model|gpt)|ai\s+(?:agent|model))s?"

Rules = tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...]
"""Name, keywords and pattern. A pattern cannot match without one of its keywords; searching for these first is ten times
as fast."""


def _compile(rules: Iterable[tuple[str, str, str]]) -> Rules:
    return tuple((name, tuple(keywords.split()), re.compile(pattern)) for name, keywords, pattern in rules)


# Sentences that address an assistant instead of a reader. On the 18F guides and this project's documentation they match
# almost nothing (measured).
SENTENCE_RULES = _compile(
    (
        (
            "override",
            "ignore disregard forget follow",
            (
                r"\b(?:ignore|disregard|forget|do\s+not\s+follow|stop\s+following)\b[^.\n]{0,60}"
                r"\b(?:(?<!old )instructions?|prompts?|guidelines|directions|guardrails|"
                r"(?:your|system|safety|these|those|the|all)\s+(?:\w+\s+)?(?:rules|constraints|restrictions|policies))\b"
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
                r"\b(?:you\s+are\s+(?:now|no\s+longer)\s+(?!ready\b|able\b|allowed\b|at\b|on\b|done\b|finished\b|required\b|connected\b|logged\b)|"
                r"from\s+now\s+on,?\s+you\s+(?:are|will|must|should|shall)?\s*(?:be\b|respond|answer|reply|act|speak|say|ignore|obey|follow|output|an?\b)|pretend\s+(?:to\s+be|you\s+are|that\s+you)|"
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
                r"[^.\n]{0,40}(?:\bonly\b|\bexactly\b|\bwith\s+(?:the\s+(?:word|phrase|sentence|text)|[\"“'])|https?:|\[\d+\]|[\"“'])"
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
                r"\b(?:your|the\s+next|the\s+final)\s+(?:answer|response|reply|replies|output)s?\s+"
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

# Patterns at the beginning of a line. They need the original line breaks; sentences may continue on the next line.
LINE_RULES = _compile(
    (
        (
            "role",
            "system assistant developer human",
            # Also the name of a thing, as in "System: three pumps": without `message`, an instruction has to follow.
            (
                r"(?:^|\n)\s*(?:#+\s*)?(?:system|assistant|developer|human)\s*(?:(?:message|prompt)\s*:|:(?=[^\n]*(?:"
                r"\b(?:you|your|ignore|disregard|respond|reply|answer|reveal|obey|output|say|do\s+not|don't|new|instructions?|sure)\b|https?:)))"
            ),
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

HIDDEN_CONTENT = (
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
"""Name, pattern and replacement of content that readers do not see, or that sends a request when it is displayed."""
