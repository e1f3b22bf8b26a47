"""Ingest: what changed at the sources becomes documents and revisions; what cannot be used is quarantined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from mindset.builds.batches import ahead
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.documents import (
    Fetched,
    Known,
    Refused,
    known_documents,
    mark_vanished,
    quarantine_documents,
    quarantined,
    register,
    store_documents,
    touch_documents,
)
from mindset.errors import ConfigurationError, DocumentRejected, SourceUnavailable
from mindset.knowledge_base import KnowledgeBase, fingerprint
from mindset.parsing.document import PARSER
from mindset.parsing.isolation import Parsers
from mindset.sources.folder import Folder
from mindset.sources.protocol import Listed, Source

# A transaction's worth: enough that commits cost nothing, little enough that a kill loses a second and memory stays low.
BATCH_DOCUMENTS = 100
BATCH_BYTES = 16_000_000

# What a mistake of a parser raises over a document that nobody thought of: it costs that one, and not every night from now on.
_PARSER_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)


@dataclass(frozen=True)
class IngestReport:
    """What ingesting found. `quarantined` is everything that is set aside now, whenever that happened."""

    listed: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: int
    vanished: tuple[str, ...]
    quarantined: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Touched:
    """A document whose change mark is new and whose bytes are not."""

    uri: str
    etag: str


def ingest(
    catalog: Catalog, kb: KnowledgeBase, *, allow_loss: bool = False, progress: Progress = unwatched
) -> IngestReport:
    """Bring the catalog's documents up to date with the sources.

    Raises SourceUnavailable where a source cannot be listed, or more than `largest_loss` of the documents are gone and
    `allow_loss` is not set; nothing is changed then."""
    reading = fingerprint(PARSER, sorted(kb.acl))
    listing = list_sources(kb)
    with catalog.writing() as connection:
        register(connection, kb.name)
        known = known_documents(connection, kb.name)
    present = {uri for uri, each in known.items() if not each.vanished}
    vanished = tuple(sorted(present - listing.keys()))
    _check_loss(kb, len(vanished), len(present), allow_loss)

    due = [
        (source, replace(listed, etag=f"{reading}:{listed.etag}"))
        for source, listed in listing.values()
        if _is_due(known.get(listed.uri), f"{reading}:{listed.etag}")
    ]
    stored: list[str] = []
    done = 0
    with Parsers() as parsers, ThreadPoolExecutor(2, thread_name_prefix="parse") as threads:
        batches = (
            list(threads.map(lambda each: _read(each[0], each[1], known.get(each[1].uri), kb, reading, parsers), batch))
            for batch in _batches(due)
        )
        for batch in ahead(batches):
            stored += _store(catalog, kb, batch)
            done += len(batch)
            progress(done, len(due))
    with catalog.writing() as connection:
        if vanished:
            mark_vanished(connection, kb.name, vanished)
        aside = tuple(quarantined(connection, kb.name))
    return IngestReport(
        listed=len(listing),
        added=tuple(uri for uri in stored if uri not in present),
        changed=tuple(uri for uri in stored if uri in present),
        unchanged=len(listing) - len(stored) - sum(uri in listing for uri, _ in aside),
        vanished=vanished,
        quarantined=aside,
    )


def list_sources(kb: KnowledgeBase) -> dict[str, tuple[Source, Listed]]:
    """{URI: (source, its listing)} of everything at the sources now. Raises SourceUnavailable, ConfigurationError."""
    listing: dict[str, tuple[Source, Listed]] = {}
    for definition in kb.sources:
        source = Folder(definition)
        for listed in source.list():
            if listed.uri in listing:
                raise ConfigurationError(
                    f"{kb.name}: two sources hold a document named {listed.uri!r}. Exclude it in one of them."
                )
            listing[listed.uri] = (source, listed)
    return listing


def _check_loss(kb: KnowledgeBase, vanished: int, present: int, allow_loss: bool) -> None:
    if vanished > kb.largest_loss * present and vanished > 1 and not allow_loss:
        raise SourceUnavailable(
            f"{kb.name}: {vanished} of {present} documents are gone from their source, more than largest_loss "
            f"({kb.largest_loss:.0%}) allows. Nothing was changed. Check the source; if it is meant, run "
            f"`mindset night {kb.name} --allow-loss`, or the deployment with allow_loss."
        )


def _is_due(known: Known | None, etag: str) -> bool:
    # What was set aside is tried again every night: its rights, its limits or the network may have been mended.
    return known is None or known.vanished or known.quarantined or known.etag != etag


def _batches(due: Sequence[tuple[Source, Listed]]) -> Iterator[list[tuple[Source, Listed]]]:
    batch: list[tuple[Source, Listed]] = []
    size = 0
    for source, listed in due:
        if batch and (len(batch) == BATCH_DOCUMENTS or size + listed.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((source, listed))
        size += listed.size
    if batch:
        yield batch


def _read(
    source: Source, listed: Listed, known: Known | None, kb: KnowledgeBase, reading: str, parsers: Parsers
) -> Fetched | Refused | _Touched:
    try:
        raw = source.fetch(listed)
        bytes_hash = hashlib.sha256(reading.encode() + raw).hexdigest()[:32]
        if known and known.bytes_hash == bytes_hash:
            return _Touched(listed.uri, listed.etag)
        parsed = parsers.parse(listed.uri, raw)
        content_hash = parsed.content_hash
    except DocumentRejected as rejected:
        return Refused(listed.uri, listed.etag, str(rejected))
    except _PARSER_FAULTS as fault:
        return Refused(
            listed.uri,
            listed.etag,
            f"The parser failed ({type(fault).__name__}). Save it again from its program, or leave it out.",
        )
    return Fetched(
        uri=listed.uri,
        etag=listed.etag,
        bytes_hash=bytes_hash,
        content_hash=content_hash,
        acl=parsed.acl or kb.acl,
        media_type=parsed.media_type,
        title=parsed.title,
        metadata=parsed.metadata,
        text=parsed.text,
    )


def _store(catalog: Catalog, kb: KnowledgeBase, read: list[Fetched | Refused | _Touched]) -> list[str]:
    fetched = [each for each in read if isinstance(each, Fetched)]
    with catalog.writing() as connection:
        if fetched:
            store_documents(connection, kb.name, fetched)
        touch_documents(connection, kb.name, {each.uri: each.etag for each in read if isinstance(each, _Touched)})
        quarantine_documents(connection, kb.name, [each for each in read if isinstance(each, Refused)], kb.acl)
    return [each.uri for each in fetched]
