"""What a model is shown of passages: nothing that instructs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mindset.guardrails.instructions import inert
from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class Shown:
    """What a model is shown of passages; people are shown the documents as they are."""

    passages: tuple[Passage, ...]
    trusted: tuple[str, ...]
    """The texts without any instruction beside them: only of these may links be repeated."""
    broken: tuple[str, ...]
    """Names of the rules that some passage broke."""


def neutralised(passages: Sequence[Passage]) -> Shown:
    """The passages without what instructs their reader, also in titles and headings."""
    found: set[str] = set()
    shown: list[Passage] = []
    trusted: list[str] = []
    for passage in passages:
        text, broken = inert(passage.text)
        place = passage.place
        title, *headings = (inert(each) for each in (place.title, *place.heading_path))
        broken = broken.union(*(each[1] for each in (title, *headings)))
        found |= broken
        label = replace(place, title=title[0], heading_path=tuple(each[0] for each in headings))
        if text != passage.text or label != place:
            shown.append(replace(passage, text=text, places=(label, *passage.places[1:])))
        else:
            shown.append(passage)
        if not any(each.startswith("injected-") for each in broken):
            trusted += [text, *(each.uri for each in passage.places)]
    return Shown(tuple(shown), tuple(trusted), tuple(sorted(found)))
