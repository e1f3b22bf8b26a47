"""What a model is shown of passages: nothing that instructs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mindset.guardrails.injection import remove_instructions
from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class SanitizedPassages:
    """What a model is shown of passages; people are shown the documents as they are."""

    passages: tuple[Passage, ...]
    trusted: tuple[str, ...]
    """The texts without any instruction beside them: only of these may links be repeated."""
    broken_rules: tuple[str, ...]
    """Names of the rules that some passage broke."""


def sanitize_passages(passages: Sequence[Passage]) -> SanitizedPassages:
    """The passages without what instructs their reader, also in titles and headings."""
    found: set[str] = set()
    shown: list[Passage] = []
    trusted: list[str] = []
    for passage in passages:
        text, broken = remove_instructions(passage.text)
        place = passage.place
        title, *headings = (remove_instructions(each) for each in (place.title, *place.heading_path))
        broken = broken.union(*(each[1] for each in (title, *headings)))
        found |= broken
        label = replace(place, title=title[0], heading_path=tuple(each[0] for each in headings))
        if text != passage.text or label != place:
            shown.append(replace(passage, text=text, places=(label, *passage.places[1:])))
        else:
            shown.append(passage)
        if not any(each.startswith("injected-") for each in broken):
            trusted += [text, *(each.uri for each in passage.places)]
    return SanitizedPassages(tuple(shown), tuple(trusted), tuple(sorted(found)))
