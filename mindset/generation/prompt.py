"""Build prompts from questions and passages. Their texts are versioned files in `prompts/`."""

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
"""The whole text of an answer that no passage supports."""

ANSWER_PROMPT = "answer-v1"
"""The prompt for answers. A changed text is a new file, so that an evaluation names the prompt that it measured."""

NATIVE_CITATIONS_PROMPT = "answer-cited-v1"
"""The prompt for answers of models with native citations."""

JUDGE_PROMPT = "judge-v1"
"""The prompt for judges."""

# Anything that resembles an opening or closing fence: a text must not be able to leave its fence.
_FENCE = re.compile(r"<(?=\s*/?\s*(?:passage|question|answer))", re.IGNORECASE)
_BYTES_PER_TOKEN = 3

BUDGET_TOKENS = 12_000
"""Maximum of all passages of a prompt."""


@dataclass(frozen=True)
class Prompt:
    """A system message and a user message."""

    system: str
    user: str


def build_prompt(question: str, passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> Prompt:
    """Build the prompt for an answer. Passage n of `passages` is labelled [n].

    Passages that exceed `budget` tokens are omitted as a whole, lowest rank first, except the best one. The numbers of
    the others do not change."""
    _, user = _templates(ANSWER_PROMPT)
    return Prompt(
        SYSTEM, user.substitute(passages=_all_fenced(passages, budget), question=remove_fences(question).strip())
    )


def cited_prompt(question: str) -> Prompt:
    """Build the prompt for a model that receives the passages as search results and cites them natively."""
    _, user = _templates(NATIVE_CITATIONS_PROMPT)
    return Prompt(_CITED_SYSTEM, user.substitute(question=remove_fences(question).strip()))


def judge_prompt(question: str, answer: str, passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> Prompt:
    """Build the prompt for a judge, which replies `yes` if the passages support the whole answer, otherwise `no`."""
    system, user = _templates(JUDGE_PROMPT)
    fenced = _all_fenced(passages, budget)
    return Prompt(
        system.template,
        user.substitute(
            passages=fenced, question=remove_fences(question).strip(), answer=remove_fences(answer).strip()
        ),
    )


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens. Text rarely has more: English takes 4 bytes per token, Chinese 3, code 3 to 4."""
    return -(-len(text.encode("utf-8", errors="replace")) // _BYTES_PER_TOKEN)


def passages_within_budget(passages: Sequence[Passage], budget: int = BUDGET_TOKENS) -> list[int]:
    """Return the numbers of the passages that fit into a prompt, ascending. Only these can be cited."""
    kept: list[int] = []
    for number in sorted(range(1, len(passages) + 1), key=lambda number: passages[number - 1].rank):
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
    """Return a passage's title and headings as one line."""
    place = passage.place
    path = place.heading_path[1:] if place.heading_path[:1] == (place.title,) else place.heading_path
    return " > ".join(" ".join(part.split()) for part in (place.title, *path))


def remove_fences(text: str) -> str:
    """Escape everything that resembles an opening or closing fence."""
    return _FENCE.sub("&lt;", text)


@cache
def _templates(name: str) -> tuple[Template, Template]:
    text = files("mindset.generation").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    system, user = text.split("\n=====\n")
    return Template(system.strip()), Template(user.strip())


SYSTEM: Final = _templates(ANSWER_PROMPT)[0].substitute(not_in_documents=NOT_IN_DOCUMENTS)
_CITED_SYSTEM: Final = _templates(NATIVE_CITATIONS_PROMPT)[0].substitute(not_in_documents=NOT_IN_DOCUMENTS)

SYSTEM_PROMPTS: Final = f"{SYSTEM}\n{_CITED_SYSTEM}"
"""The system messages of both prompts. An answer must not reveal them."""

FINGERPRINT: Final = fingerprint(
    [ANSWER_PROMPT, NATIVE_CITATIONS_PROMPT],
    [template.template for name in (ANSWER_PROMPT, NATIVE_CITATIONS_PROMPT) for template in _templates(name)],
)
"""Identifies the texts of the prompts in the answer log and in cache keys."""
