"""Structural chunking, the default: follow headings, fill a token budget with whole sentences, tables and code blocks.

Within a section, a chunk may also end early at a block whose hash selects it (content-defined chunking, as in backup
programs). After an edit the cuts realign within a few blocks instead of shifting up to the end of the section.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN, ChunkSpan
from mindset.text.markdown import Block, markdown_blocks, plain_blocks
from mindset.text.sentences import split_sentences

# A code block or a sentence is cut only if it exceeds this many times the budget.
_MAX_BUDGETS = 4
# On average one in this many blocks ends a chunk that has filled half its budget.
_CUT_INTERVAL = 4
_SPACE = re.compile(r"\s*")
_TABLE_HEADER = re.compile(r"[^\n]*\n[^\n]*\n")


@dataclass(frozen=True, slots=True)
class _Atom:
    start: int
    end: int
    table_header: str = ""


def structural(text: str, media_type: str, budget_tokens: int) -> Iterator[ChunkSpan]:
    """Yield spans in order, without overlap. Together they contain every word of the rendered text.

    A table that exceeds the budget is cut between rows, and each further part repeats its header."""
    blocks = markdown_blocks(text) if media_type == "text/markdown" else plain_blocks(text)
    path: list[tuple[int, str]] = []
    section: list[Block] = []
    for block in blocks:
        if block.kind == "heading":
            yield from _pack(text, section, path, budget_tokens)
            path = [(level, title) for level, title in path if level < block.level] + [(block.level, block.title)]
            section = []
        section.append(block)
    yield from _pack(text, section, path, budget_tokens)


def _pack(text: str, section: list[Block], path: list[tuple[int, str]], budget_tokens: int) -> Iterator[ChunkSpan]:
    budget = budget_tokens * CHARACTERS_PER_TOKEN
    headings = tuple(title for _, title in path if title)
    # A paragraph of non-ASCII spaces is empty once stripped.
    atoms = [atom for block in section for atom in _atoms(text, block, budget) if atom.start < atom.end]
    start: int | None = None
    header, end = "", 0
    for index, atom in enumerate(atoms):
        if start is not None and atom.end - start > budget:
            yield ChunkSpan(start, end, headings, header)
            start = None
        if start is None:
            start, header = atom.start, atom.table_header
        end = atom.end
        if index + 1 < len(atoms) and end - start >= budget // 2 and _is_cut_point(text, atom):
            yield ChunkSpan(start, end, headings, header)
            start = None
    if start is not None:
        yield ChunkSpan(start, end, headings, header)


def _is_cut_point(text: str, atom: _Atom) -> bool:
    return zlib.crc32(text[atom.start : atom.end].encode()) % _CUT_INTERVAL == 0


def _atoms(text: str, block: Block, budget: int) -> Iterator[_Atom]:
    """Yield the block, or its sentences or lines if it exceeds the budget."""
    if block.end - block.start <= (budget * _MAX_BUDGETS if block.kind == "code" else budget):
        yield _Atom(block.start, block.end)
    elif block.kind == "code":
        yield from _split(text, block.start, block.end, budget * _MAX_BUDGETS, "\n")
    elif block.kind == "table":
        yield from _table_parts(text, block, budget)
    else:
        position = block.start
        for sentence in split_sentences(text[block.start : block.end]):
            end = position + len(sentence.rstrip())
            start = position + len(sentence) - len(sentence.lstrip())
            if start < end:
                yield from _split(text, start, end, budget * _MAX_BUDGETS, " ")
            position += len(sentence)


def _table_parts(text: str, block: Block, budget: int) -> Iterator[_Atom]:
    """Yield parts of a table of whole rows, as many as fit the budget; all but the first repeat its two lines of header.

    Only a row of more than `_MAX_BUDGETS` budgets is cut inside."""
    match = _TABLE_HEADER.match(text, block.start, block.end)
    header = match[0] if match and len(match[0]) <= budget // 2 else ""
    start, room = block.start, budget
    while start < block.end:
        end = text.rfind("\n", start, min(start + room, block.end))
        if start + room >= block.end:
            end = block.end
        elif end <= start:  # a long row
            end = text.find("\n", start + 1, min(start + _MAX_BUDGETS * budget, block.end))
            end = end if end > start else min(start + _MAX_BUDGETS * budget, block.end)
        yield _Atom(start, end, header if start > block.start else "")
        # Further parts leave room for the header.
        start, room = _skip_space(text, end, block.end), budget - len(header)


def _skip_space(text: str, start: int, end: int) -> int:
    """Return the position of the first character that is not white space, without copying the text."""
    match = _SPACE.match(text, start, end)
    return match.end() if match else start


def _split(text: str, start: int, end: int, limit: int, separator: str) -> Iterator[_Atom]:
    """Yield pieces of at most `limit` characters, cut at a separator if there is one."""
    while end - start > limit:
        cut = text.rfind(separator, start + 1, start + limit)
        cut = cut if cut > 0 else start + limit
        yield _Atom(start, cut)
        start = _skip_space(text, cut, end)
    if start < end:
        yield _Atom(start, end)
