"""Full-text search: words are weighted by their rarity, which is taken from Postgres' planner statistics."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mindset.catalog.filters import Filter, SqlCondition
from mindset.catalog.transactions import Connection, WriteConnection, rows, scalar
from mindset.catalog.visibility import visibility
from mindset.errors import ConfigurationError

# An OR query scores every match. If common words would match more chunks than this, only the rarer words select the
# chunks to score; all words contribute to the score.
_MAX_SCORED = 1_500

# Each additional word costs a lookup per scored chunk; the rarest words of a long question distinguish its chunks.
_MAX_WORDS = 24

# Chunks are ranked before visibility is checked, because ranking is cheaper: this many times the limit, or all scored
# chunks if a filter may leave few of them.
_OVERFETCH = 4

# On the guides' golden set: 1.0 gave recall@5 0.58, 1.5 gave 0.64, 2.0 gave 0.61 (fused with WordLlama).
_RARITY_POWER = 1.5

_STATISTICS_TTL_S = 60.0

# Fewer new chunks than this do not change the rarity of words.
_ANALYZE_AFTER = 1_000


@dataclass(frozen=True)
class WordFrequencies:
    """The fraction of all chunks that contain a word, from `ANALYZE`. Words missing there are rarer than those included."""

    frequencies: dict[str, float]
    chunks: float
    read_at: float

    @cached_property
    def rarest(self) -> float:
        """The lowest frequency that `ANALYZE` recorded."""
        return min(self.frequencies.values(), default=1.0)

    def frequency(self, word: str) -> float:
        """Return the word's frequency, never 0."""
        return self.frequencies.get(word, self.rarest / 2) + 0.5 / max(self.chunks, 1)

    def weight(self, word: str) -> float:
        """Return the inverse document frequency of Robertson and Spärck Jones, as BM25 uses it, raised to a power."""
        frequency = self.frequency(word)
        return math.pow(math.log(1 + max(1 - frequency, 0.0) / frequency), _RARITY_POWER)


class LexicalSearch:
    """Full-text search over all knowledge bases of a catalog. Caches the statistics for a minute. Thread-safe."""

    def __init__(self) -> None:
        self._frequencies: WordFrequencies | None = None
        self._lock = threading.Lock()

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
        """Return the ids of visible chunks that contain any of the question's words, best first.

        Raises ConfigurationError if Postgres does not know the language."""
        found = rows(
            connection, f"SELECT tsvector_to_array(to_tsvector({LANGUAGE}, %(question)s))",
            language=language, question=question,
        )  # fmt: skip
        if found[0][0] is None:
            raise unknown_language(connection, kb, language)
        frequencies = self._current(connection)
        words = sorted(found[0][0], key=frequencies.frequency)[:_MAX_WORDS]
        if not words:
            return []
        condition = visibility(where)
        ranked = rows(
            connection,
            _statement(len(words), condition),
            kb=kb,
            version=version,
            principals=list(principals),
            selector=_selector(words, frequencies),
            limit=limit,
            reach=limit * _OVERFETCH if where is None else _MAX_SCORED,
            **{f"word_{number}": _quoted(word) for number, word in enumerate(words)},
            **{f"weight_{number}": frequencies.weight(word) for number, word in enumerate(words)},
            **condition.parameters,
        )
        return [chunk_id for (chunk_id,) in ranked]

    def _current(self, connection: Connection) -> WordFrequencies:
        cached = self._frequencies
        if cached and time.monotonic() - cached.read_at < _STATISTICS_TTL_S:
            return cached
        with self._lock:
            if self._frequencies is cached:
                self._frequencies = _read_frequencies(connection)
            assert self._frequencies
            return self._frequencies


def analyze(connection: WriteConnection, added: int) -> None:
    """Run ANALYZE after a build added many chunks, or if it never ran; it reads a sample of bounded size.

    Autovacuum comes too late: the evaluation after a build would search with plans made for empty tables."""
    if added >= _ANALYZE_AFTER or not scalar(
        connection, "SELECT count(*) FROM pg_stats WHERE tablename = 'chunk' AND attname = 'tsv'"
    ):
        connection.execute("ANALYZE chunk, placement, document, segment_chunk")


def _statement(words: int, condition: SqlCondition) -> str:
    """Return the statement for a number of words, written out, since a sum over an array takes half as long again."""
    score = " + ".join(
        f"%(weight_{number})s::float8 * ts_rank('{{0.1, 0.1, 0.1, 0.1}}', c.tsv, %(word_{number})s::tsquery)"
        for number in range(words)
    )
    return f"""/* lexical_candidates: the rarer words select, all words score; title and headings weigh as much as the text */
        WITH ranked AS (
          SELECT c.id, {score} AS score
          FROM chunk c WHERE c.kb = %(kb)s AND c.tsv @@ %(selector)s::tsquery
          ORDER BY score DESC, c.id LIMIT %(reach)s
        )
        SELECT ranked.id FROM ranked CROSS JOIN LATERAL (
          -- The limit makes the planner look up each chunk by index, whatever it estimates for the version's placements.
          SELECT FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
          WHERE p.kb = %(kb)s AND p.chunk_id = ranked.id AND {condition.sql} LIMIT 1) AS visible
        ORDER BY ranked.score DESC, ranked.id LIMIT %(limit)s"""  # noqa: S608  # constants and placeholders


def _selector(words: Sequence[str], frequencies: WordFrequencies) -> str:
    """Return a tsquery that selects the chunks to score: as many of the rarest words as do not match too many chunks.

    If even the rarest word matches too many, a chunk must contain it and another word."""
    rarest, others = _quoted(words[0]), [_quoted(word) for word in words[1:]]
    matches = frequencies.frequency(words[0]) * frequencies.chunks
    if matches > _MAX_SCORED and others:
        return f"{rarest} & ({' | '.join(others)})"
    selected = [rarest]
    for word, quoted in zip(words[1:], others, strict=True):
        matches += frequencies.frequency(word) * frequencies.chunks
        if matches > _MAX_SCORED:
            break
        selected.append(quoted)
    return " | ".join(selected)


def _read_frequencies(connection: Connection) -> WordFrequencies:
    found = rows(
        connection,
        """SELECT s.most_common_elems::text::text[], s.most_common_elem_freqs, greatest(t.reltuples, 0)
           FROM pg_class t LEFT JOIN pg_stats s
             ON s.tablename = 'chunk' AND s.attname = 'tsv' AND s.schemaname = t.relnamespace::regnamespace::text
           WHERE t.oid = 'chunk'::regclass""",
    )
    words, frequencies, chunks = found[0]
    # Behind the words' frequencies, Postgres appends the lowest and highest of them and the frequency of nulls.
    return WordFrequencies(dict(zip(words or (), frequencies or (), strict=False)), float(chunks), time.monotonic())


def _quoted(word: str) -> str:
    """Return a word as a tsquery."""
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


# Yields NULL where a cast to regconfig would raise.
LANGUAGE = """(SELECT oid::regconfig FROM pg_ts_config
               WHERE cfgname = %(language)s AND pg_ts_config_is_visible(oid))"""


def check_language(connection: Connection, kb: str, language: str) -> None:
    """Raise ConfigurationError if Postgres has no text search configuration of that name."""
    if rows(connection, f"SELECT {LANGUAGE}", language=language) == [(None,)]:
        raise unknown_language(connection, kb, language)


def unknown_language(connection: Connection, kb: str, language: str) -> ConfigurationError:
    """Return an error that lists the available configurations, including custom ones."""
    names = rows(connection, "SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY cfgname")
    return ConfigurationError(
        f"{kb}: chunking.language is {language!r}, and Postgres has no text search configuration of that name. "
        f"Use one of these: {', '.join(name for (name,) in names)}."
    )
