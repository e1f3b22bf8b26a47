"""The default: follow headings, pack blocks up to a token budget, never cut a sentence, keep tables and code whole.

Within a section a chunk may also end early, at a block whose own hash says so (content-defined chunking, as backup
programs do it): after an edit the cuts fall back into step within a few blocks instead of shifting to the section's end.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN, ChunkSpan
from mindset.text.markdown import Block, markdown_blocks, plain_blocks
from mindset.text.sentences import split_sentences

# A table, a code block or an endless sentence may exceed the budget this many times before it is cut.
_STRETCH = 4
# One block in this many ends a chunk that has reached half its budget.
_CUT_ONE_IN = 4
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class _Atom:
    start: int
    end: int


def structural(text: str, media_type: str, budget_tokens: int) -> Iterator[ChunkSpan]:
    """Cuts in order, without overlap; together they hold every word that the text shows."""
    blocks = markdown_blocks(text) if media_type == "text/markdown" else plain_blocks(text)
    path: list[tuple[int, str]] = []
    section: list[Block] = []
    for block in blocks:
        if block.kind == "heading":
            yield from _pack(text, section, path, budget_tokens)
            path = [each for each in path if each[0] < block.level] + [(block.level, block.title)]
            section = []
        section.append(block)
    yield from _pack(text, section, path, budget_tokens)


def _pack(text: str, section: list[Block], path: list[tuple[int, str]], budget_tokens: int) -> Iterator[ChunkSpan]:
    budget = budget_tokens * CHARACTERS_PER_TOKEN
    headings = tuple(title for _, title in path if title)
    # A paragraph of nothing but wide spaces has no text.
    atoms = [atom for block in section for atom in _atoms(text, block, budget) if atom.start < atom.end]
    start: int | None = None
    end = 0
    for index, atom in enumerate(atoms):
        if start is not None and atom.end - start > budget:
            yield ChunkSpan(start, end, headings)
            start = None
        start, end = atom.start if start is None else start, atom.end
        if index + 1 < len(atoms) and end - start >= budget // 2 and _ends_here(text, atom):
            yield ChunkSpan(start, end, headings)
            start = None
    if start is not None:
        yield ChunkSpan(start, end, headings)


def _ends_here(text: str, atom: _Atom) -> bool:
    return zlib.crc32(text[atom.start : atom.end].encode()) % _CUT_ONE_IN == 0


def _atoms(text: str, block: Block, budget: int) -> Iterator[_Atom]:
    """What is packed: the block, or its sentences where it exceeds the budget."""
    if block.end - block.start <= (budget * _STRETCH if block.kind == "whole" else budget):
        yield _Atom(block.start, block.end)
    elif block.kind == "whole":
        yield from _bounded(text, block.start, block.end, budget, "\n")
    else:
        at = block.start
        for sentence in split_sentences(text[block.start : block.end]):
            end = at + len(sentence.rstrip())
            start = at + len(sentence) - len(sentence.lstrip())
            if start < end:
                yield from _bounded(text, start, end, budget, " ")
            at += len(sentence)


def _after_space(text: str, start: int, end: int) -> int:
    """Where what is no space begins; without a copy of the rest, which may be all of a file."""
    found = _SPACE.match(text, start, end)
    return found.end() if found else start


def _bounded(text: str, start: int, end: int, budget: int, separator: str) -> Iterator[_Atom]:
    """Pieces no longer than the stretched budget, cut after a separator where there is one."""
    limit = budget * _STRETCH
    while end - start > limit:
        cut = text.rfind(separator, start + 1, start + limit)
        cut = cut if cut > 0 else start + limit
        yield _Atom(start, cut)
        start = _after_space(text, cut, end)
    if start < end:
        yield _Atom(start, end)
