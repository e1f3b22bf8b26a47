"""Sanitize passages before they are sent to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mindset.guardrails.injection import remove_instructions
from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class SanitizedPassages:
    """Passages for a model. Users see the original passages."""

    passages: tuple[Passage, ...]
    trusted: tuple[str, ...]
    """Texts and URIs of passages without instructions. An answer may contain links only from these."""
    broken_rules: tuple[str, ...]
    """Names of the rules that the passages broke."""


def sanitize_passages(passages: Sequence[Passage]) -> SanitizedPassages:
    """Remove instructions from the texts, titles and headings of passages."""
    broken_rules: set[str] = set()
    sanitized: list[Passage] = []
    trusted: list[str] = []
    for passage in passages:
        place = passage.place
        text, broken = remove_instructions(passage.text)
        title, title_broken = remove_instructions(place.title)
        headings = [remove_instructions(heading) for heading in place.heading_path]
        broken = broken.union(title_broken, *(heading_broken for _, heading_broken in headings))
        broken_rules |= broken
        label = replace(place, title=title, heading_path=tuple(heading for heading, _ in headings))
        if text != passage.text or label != place:
            sanitized.append(replace(passage, text=text, original=passage.text, places=(label, *passage.places[1:])))
        else:
            sanitized.append(passage)
        if not any(rule.startswith("injected-") for rule in broken):
            trusted += [text, *(place.uri for place in passage.places)]
    return SanitizedPassages(tuple(sanitized), tuple(trusted), tuple(sorted(broken_rules)))
