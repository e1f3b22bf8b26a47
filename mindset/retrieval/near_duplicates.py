"""Show near-duplicates, such as a page, its print version and an old edition, as one result with all their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.passages import VisibleChunk
from mindset.full_text.bm25 import VisibleChunks
from mindset.full_text.near_duplicates import MIN_RESEMBLANCE, resemblance
from mindset.sources.globs import matches_path

# A folder or file name that is nothing but a version, such as `v2`, `1.4` or `2024-06`.
_EDITION = re.compile(r"v?(\d+(?:[.-]\d+)*)", re.IGNORECASE)


def group_near_duplicates(
    visible: VisibleChunks, words: Sequence[str], ranked: Sequence[str], limit: int
) -> list[list[str]]:
    """Return the chunks of a ranking in groups that say the same, each at the place of its best chunk.

    Only the first `limit` groups are completed; further chunks stay alone. Chunks that a word of the question tells apart stay
    apart as well: one has it, in its text, title or headings, and the other does not. So a question about a certain edition
    finds that edition, and pages made from one template stay what they are."""
    numbers = visible.numbers(ranked)
    components, figures = visible.table.signatures(numbers)
    groups: list[list[str]] = []
    alone = np.ones(len(ranked), dtype=np.bool_)
    for first in range(len(ranked)):
        if len(groups) == limit:
            return groups + [[ranked[number]] for number in range(first, len(ranked)) if alone[number]]
        if not alone[first]:
            continue
        members = _near_duplicates(components, figures, first, alone)
        if len(members) > 1:
            has = visible.table.contained(words, numbers[members])
            members = members[(has == has[0]).all(axis=1)]
        alone[members] = False
        groups.append([ranked[member] for member in members])
    return groups


def _near_duplicates(
    components: NDArray[np.uint8], figures: NDArray[np.uint64], first: int, alone: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the positions of the first chunk and of those that resemble it and are still alone."""
    if not figures[first]:
        return np.array([first])
    candidates = np.flatnonzero(alone & (figures == figures[first]))
    return candidates[resemblance(components[candidates], components[first]) >= MIN_RESEMBLANCE]


def merge_groups(
    rows: Sequence[VisibleChunk],
    groups: Sequence[Sequence[str]],
    chunks_of: Callable[[str], int],
    canonical: Sequence[str],
) -> list[VisibleChunk]:
    """Give all rows of a group the text of its canonical place, which comes first.

    `chunks_of` returns the number of chunks of a document. The canonical place matches the earliest glob of `canonical`; of
    several, it is in the latest edition, then in the shortest document."""
    group_of = {chunk_id: number for number, group in enumerate(groups) for chunk_id in group}

    def preference(row: VisibleChunk) -> tuple[int, tuple[int, ...], int, str, int]:
        rule = next((at for at, glob in enumerate(canonical) if matches_path(glob, row.uri)), len(canonical))
        return rule, _edition(row.uri), chunks_of(row.uri), row.uri, row.ordinal

    merged: list[VisibleChunk] = []
    ordered = sorted(rows, key=lambda row: group_of[row.chunk_id])  # stable: the rows of a chunk stay together
    for number, members in groupby(ordered, key=lambda row: group_of[row.chunk_id]):
        places = sorted(members, key=preference)
        first = places[0]
        merged += [
            replace(row, candidate=number, chunk_id=first.chunk_id, text=first.text, media_type=first.media_type)
            for row in places
        ]
    return merged


def _edition(uri: str) -> tuple[int, ...]:
    """Return the negated numbers of the versions in a path, so that a later edition comes first; () sorts before all."""
    parts = uri.rsplit(".", 1)[0].split("/")
    versions = (match for part in parts if (match := _EDITION.fullmatch(part)))
    return tuple(-int(number) for version in versions for number in re.split(r"[.-]", version[1]))
