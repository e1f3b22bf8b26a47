"""Full-text search: words weighted by how rare they are, as Postgres's own statistics tell."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mindset.catalog.connection import Connection, Writing, rows, scalar
from mindset.catalog.filters import Condition, Filter
from mindset.catalog.languages import LANGUAGE, unknown_language
from mindset.catalog.passages import visible

# An OR query scores every match. Where common words alone would match more chunks than this, only the rarer ones
# choose what is scored; all of them score it.
_MOST_SCORED = 1_500

# Each word more is a look into every chunk that is scored. The rarest of a long question tell its chunks apart.
_MOST_WORDS = 24

# Ranked before visibility is looked at, since the rank is the cheaper condition: so many times as many as are wanted, and
# all that are scored where a filter may leave few of them.
_RANKED_AHEAD = 4

# On the guides' golden set: 1.0 gave recall@5 0.58, 1.5 gave 0.64, 2.0 gave 0.61 (fused with WordLlama).
_RARITY_POWER = 1.5

_STATISTICS_LIVE_S = 60.0

# Fewer new chunks than this do not change how rare words are.
_ANALYZE_AFTER = 1_000


@dataclass(frozen=True)
class WordFrequencies:
    """Share of all chunks that hold a word, from `ANALYZE`; words it did not see are rarer than all that it did."""

    shares: dict[str, float]
    chunks: float
    read_at: float

    @cached_property
    def rarest(self) -> float:
        """The least share of a word that `ANALYZE` saw."""
        return min(self.shares.values(), default=1.0)

    def share(self, word: str) -> float:
        """The word's share, never 0."""
        return self.shares.get(word, self.rarest / 2) + 0.5 / max(self.chunks, 1)

    def weight(self, word: str) -> float:
        """Robertson and Sparck Jones's inverse document frequency, as BM25 uses it, sharpened."""
        share = self.share(word)
        return math.pow(math.log(1 + max(1 - share, 0.0) / share), _RARITY_POWER)


class LexicalSearch:
    """Full-text search over all knowledge bases of a catalog; keeps the statistics for a minute. Thread-safe."""

    def __init__(self) -> None:
        self._frequencies: WordFrequencies | None = None
        self._reading = threading.Lock()

    def candidates(
        self,
        connection: Connection,
        kb: str,
        version: int,
        principals: Sequence[str],
        question: str,
        language: str,
        limit: int,
        where: Filter | None = None,
    ) -> list[str]:
        """Chunk ids by full-text rank, best first: any of the question's words, visible ones only."""
        found = rows(
            connection, f"SELECT tsvector_to_array(to_tsvector({LANGUAGE}, %(question)s))",
            language=language, question=question,
        )  # fmt: skip
        if found[0][0] is None:
            raise unknown_language(connection, kb, language)
        frequencies = self._current(connection)
        words = sorted(found[0][0], key=frequencies.share)[:_MOST_WORDS]
        if not words:
            return []
        shown = visible(where)
        ranked = rows(
            connection,
            _statement(len(words), shown),
            kb=kb,
            version=version,
            principals=list(principals),
            choosing=_choosing(words, frequencies),
            limit=limit,
            reach=limit * _RANKED_AHEAD if where is None else _MOST_SCORED,
            **{f"word_{number}": _quoted(word) for number, word in enumerate(words)},
            **{f"weight_{number}": frequencies.weight(word) for number, word in enumerate(words)},
            **shown.parameters,
        )
        return [chunk for (chunk,) in ranked]

    def _current(self, connection: Connection) -> WordFrequencies:
        known = self._frequencies
        if known and time.monotonic() - known.read_at < _STATISTICS_LIVE_S:
            return known
        with self._reading:
            if self._frequencies is known:
                self._frequencies = _read_frequencies(connection)
            assert self._frequencies
            return self._frequencies


def analyze(connection: Writing, added: int) -> None:
    """Let Postgres count anew after a build added many chunks, or when it never did; costs a bounded sample.

    Its own rounds come too late: the evaluation that follows a build would search with plans made for empty tables."""
    if added >= _ANALYZE_AFTER or not scalar(
        connection, "SELECT count(*) FROM pg_stats WHERE tablename = 'chunk' AND attname = 'tsv'"
    ):
        connection.execute("ANALYZE chunk, placement, document, segment_chunk")


def _statement(words: int, shown: Condition) -> str:
    """For so many words: written out, since a sum over a list of them takes half as long again."""
    score = " + ".join(
        f"%(weight_{number})s::float8 * ts_rank('{{0.1, 0.1, 0.1, 0.1}}', c.tsv, %(word_{number})s::tsquery)"
        for number in range(words)
    )
    return f"""/* lexical_candidates: the rarer words choose, all words score; title and headings count like text */
        WITH ranked AS (
          SELECT c.id, {score} AS score
          FROM chunk c WHERE c.kb = %(kb)s AND c.tsv @@ %(choosing)s::tsquery
          ORDER BY score DESC, c.id LIMIT %(reach)s
        )
        SELECT ranked.id FROM ranked CROSS JOIN LATERAL (
          -- A limit, so that each chunk is looked up by index, however the planner counts the version's placements.
          SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE p.kb = %(kb)s AND p.chunk = ranked.id AND {shown.sql} LIMIT 1) AS shown
        ORDER BY ranked.score DESC, ranked.id LIMIT %(limit)s"""  # noqa: S608  # constants and placeholders


def _choosing(words: Sequence[str], frequencies: WordFrequencies) -> str:
    """As a tsquery, what a chunk must hold to be scored: one of the rarest words, as many as do not match too much.

    Where already the rarest matches too much, it and another one."""
    rarest, others = _quoted(words[0]), [_quoted(word) for word in words[1:]]
    matches = frequencies.share(words[0]) * frequencies.chunks
    if matches > _MOST_SCORED and others:
        return f"{rarest} & ({' | '.join(others)})"
    chosen = [rarest]
    for word, quoted in zip(words[1:], others, strict=True):
        matches += frequencies.share(word) * frequencies.chunks
        if matches > _MOST_SCORED:
            break
        chosen.append(quoted)
    return " | ".join(chosen)


def _read_frequencies(connection: Connection) -> WordFrequencies:
    found = rows(
        connection,
        """SELECT s.most_common_elems::text::text[], s.most_common_elem_freqs, greatest(t.reltuples, 0)
           FROM pg_class t LEFT JOIN pg_stats s
             ON s.tablename = 'chunk' AND s.attname = 'tsv' AND s.schemaname = t.relnamespace::regnamespace::text
           WHERE t.oid = 'chunk'::regclass""",
    )
    words, shares, chunks = found[0]
    # Postgres appends the least and the greatest share, and that of nulls, behind those of the words.
    return WordFrequencies(dict(zip(words or (), shares or (), strict=False)), float(chunks), time.monotonic())


def _quoted(word: str) -> str:
    """A word as a tsquery."""
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
