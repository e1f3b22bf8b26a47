"""From a question and passages to what a model is told; the words themselves are versioned files in `prompts/`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

from mindset.config.definition import fingerprint
from mindset.retrieval.passage import Passage

NOT_IN_DOCUMENTS = "Not in the documents."
"""What an answer says, and all that it says, where no passage supports one."""

ANSWER_PROMPT = "answer-v1"
"""The prompt in use. A changed wording is a new file, so that an evaluation names what it measured."""

NATIVE_CITATIONS_PROMPT = "answer-cited-v1"
"""The one for models that cite by themselves."""

JUDGE_PROMPT = "judge-v1"
"""The prompt of who judges answers."""

# What would open or close a fence, however it is spelt: the text must not be able to leave it.
_FENCE = re.compile(r"<(?=\s*/?\s*(?:passage|question|answer))", re.IGNORECASE)
_BYTES_PER_TOKEN = 3

BUDGET_TOKENS = 12_000
"""What the passages of one prompt may take."""


@dataclass(frozen=True)
class Prompt:
    """What the system says, and what the user says."""

    system: str
    user: str


def build_prompt(question: str, passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> Prompt:
    """The prompt; passage n of `passages` is labelled [n], also where others were left out.

    Whole passages are left out, the lowest rank first, until the rest fits `budget` tokens; the best one stays."""
    _, user = _templates(ANSWER_PROMPT)
    return Prompt(
        SYSTEM, user.substitute(passages=_all_fenced(passages, budget), question=remove_fences(question).strip())
    )


def cited_prompt(question: str) -> Prompt:
    """The prompt for a model that is given the passages as search results, and cites them by itself."""
    _, user = _templates(NATIVE_CITATIONS_PROMPT)
    return Prompt(_CITED_SYSTEM, user.substitute(question=remove_fences(question).strip()))


def judge_prompt(question: str, answer: str, passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> Prompt:
    """The prompt for who judges an answer: `yes`, if all of it follows from these passages, or `no`."""
    system, user = _templates(JUDGE_PROMPT)
    fenced = _all_fenced(passages, budget)
    return Prompt(
        system.template,
        user.substitute(
            passages=fenced, question=remove_fences(question).strip(), answer=remove_fences(answer).strip()
        ),
    )


def estimate_tokens(text: str) -> int:
    """A count of tokens that real text hardly ever exceeds: English takes 4 bytes a token, Chinese 3, code 3 to 4."""
    return -(-len(text.encode("utf-8", errors="replace")) // _BYTES_PER_TOKEN)


def passages_within_budget(passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> list[int]:
    """Numbers of the passages that fit into a prompt, in the order given: only these can be cited."""
    kept: list[int] = []
    for number in sorted(range(1, len(passages) + 1), key=lambda each: passages[each - 1].rank):
        budget -= estimate_tokens(_fenced(number, passages[number - 1]))
        if budget < 0 and kept:
            break
        kept.append(number)
    return sorted(kept)


def _all_fenced(passages: Sequence[Passage], budget: int) -> str:
    return "\n\n".join(_fenced(number, passages[number - 1]) for number in passages_within_budget(passages, budget))


def _fenced(number: int, passage: Passage) -> str:
    return f"<passage>\n[{number}] {remove_fences(label(passage))}\n{remove_fences(passage.text).strip()}\n</passage>"


def label(passage: Passage) -> str:
    """Title and headings, in a line."""
    place = passage.place
    path = place.heading_path[1:] if place.heading_path[:1] == (place.title,) else place.heading_path
    return " > ".join(" ".join(part.split()) for part in (place.title, *path))


def remove_fences(text: str) -> str:
    """The text without what would open or close a fence."""
    return _FENCE.sub("&lt;", text)


@cache
def _templates(name: str) -> tuple[Template, Template]:
    text = files("mindset.generation").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    system, user = text.split("\n=====\n")
    return Template(system.strip()), Template(user.strip())


SYSTEM: Final = _templates(ANSWER_PROMPT)[0].substitute(not_in_documents=NOT_IN_DOCUMENTS)
_CITED_SYSTEM: Final = _templates(NATIVE_CITATIONS_PROMPT)[0].substitute(not_in_documents=NOT_IN_DOCUMENTS)

SYSTEM_PROMPTS: Final = f"{SYSTEM}\n{_CITED_SYSTEM}"
"""What the system says, in either prompt; an answer must not."""

FINGERPRINT: Final = fingerprint(
    [ANSWER_PROMPT, NATIVE_CITATIONS_PROMPT],
    [each.template for name in (ANSWER_PROMPT, NATIVE_CITATIONS_PROMPT) for each in _templates(name)],
)
"""Names the prompts' words, in the answer log and in cache keys."""
