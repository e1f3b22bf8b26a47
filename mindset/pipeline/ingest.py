"""The ingest stage: changes at the sources become documents and revisions; unusable documents are quarantined."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from mindset.catalog.build import Build
from mindset.catalog.documents import (
    DocumentState,
    FetchedDocument,
    document_states,
    mark_removed,
    narrow_rights,
    register,
    store_documents,
    touch_documents,
)
from mindset.catalog.quarantine import RejectedDocument, quarantine_documents, quarantined_documents
from mindset.config.definition import fingerprint
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import ConfigurationError, DocumentRejected, SourceUnavailable
from mindset.parsing.document import PARSER
from mindset.parsing.sandbox import ParserPool
from mindset.pipeline.concurrency import prefetch
from mindset.pipeline.progress import Progress, no_progress
from mindset.sources.folder import Folder
from mindset.sources.protocol import Source, SourceEntry

# One transaction per batch: large enough that commits are cheap, small enough that a kill loses about a second of work.
BATCH_DOCUMENTS = 100
BATCH_BYTES = 16_000_000

# Errors of a parser over an unexpected document: they quarantine that document instead of failing every night.
_PARSER_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)

_Entry = tuple[Source, SourceEntry]


@dataclass(frozen=True)
class IngestReport:
    """The number of documents that changed at the sources. It is stored as the stage's result, so it lists none of them.

    `quarantined` lists (URI, reason) of all quarantined documents, not only new ones."""

    listed: int
    added: int
    changed: int
    unchanged: int
    removed: int
    quarantined: tuple[tuple[str, str], ...]
    unconfined: tuple[str, ...] = ()
    """What processes that parse risky formats could reach, because this system cannot deny it."""


@dataclass(frozen=True)
class _TouchedDocument:
    """A document with a new ETag but unchanged bytes."""

    uri: str
    etag: str


_ReadDocument = FetchedDocument | RejectedDocument | _TouchedDocument


def ingest(
    build: Build, kb: KnowledgeBase, *, allow_deletions: bool = False, progress: Progress = no_progress
) -> IngestReport:
    """Update the catalog's documents from the sources.

    Raises SourceUnavailable if a source cannot be listed, or if more than `max_deletion_ratio` of the documents were
    removed and `allow_deletions` is not set. Nothing is changed then. Raises BuildTakenOver."""
    # A change of the parser or of the default rights makes every document due.
    reader = fingerprint(PARSER, sorted(kb.acl))
    listing = list_sources(kb)
    with build.writing() as connection:
        register(connection, kb.name)
        states = document_states(connection, kb.name)
    present = {uri for uri, state in states.items() if not state.removed}
    removed = tuple(sorted(present - listing.keys()))
    if _exceeds_limit(kb, len(removed), len(present)) and not allow_deletions:
        moved = _count_moved(removed, listing, states, reader)
        _check_deletions(kb, len(removed) - moved, len(present))
    with build.writing() as connection:
        narrow_rights(connection, kb.name, kb.acl)

    due = [
        (source, replace(entry, etag=f"{reader}:{entry.etag}"))
        for source, entry in listing.values()
        if _is_due(states.get(entry.uri), f"{reader}:{entry.etag}")
    ]
    added = changed = done = 0
    with ParserPool() as parsers, ThreadPoolExecutor(2, thread_name_prefix="parse") as threads:

        def read(entry: _Entry) -> _ReadDocument:
            return _read(*entry, states.get(entry[1].uri), kb, reader, parsers)

        for batch in prefetch(list(threads.map(read, batch)) for batch in _batches(due)):
            stored = _store(build, kb, batch)
            changed += sum(uri in present for uri in stored)
            added += sum(uri not in present for uri in stored)
            done += len(batch)
            progress(done, len(due))
    with build.writing() as connection:
        if removed:
            mark_removed(connection, kb.name, removed)
        quarantined = tuple(quarantined_documents(connection, kb.name))
    return IngestReport(
        listed=len(listing),
        added=added,
        changed=changed,
        unchanged=len(listing) - added - changed - sum(uri in listing for uri, _ in quarantined),
        removed=len(removed),
        quarantined=quarantined,
        unconfined=parsers.unconfined,
    )


def list_sources(kb: KnowledgeBase) -> dict[str, _Entry]:
    """Return {URI: (source, entry)} of everything at the sources. Raises SourceUnavailable, ConfigurationError."""
    listing: dict[str, _Entry] = {}
    for definition in kb.sources:
        source = Folder(definition)
        for entry in source.list():
            if entry.uri in listing:
                raise ConfigurationError(
                    f"{kb.name}: two sources contain a document named {entry.uri!r}. Exclude it in one of them."
                )
            listing[entry.uri] = (source, entry)
    return listing


def _exceeds_limit(kb: KnowledgeBase, removed: int, present: int) -> bool:
    return removed > kb.max_deletion_ratio * present and removed > 1


def _count_moved(
    removed: Sequence[str], listing: Mapping[str, _Entry], states: Mapping[str, DocumentState], reader: str
) -> int:
    """Return how many of the removed documents are at another path now, with the same bytes: a renamed folder loses nothing."""
    lost = Counter(state.bytes_hash for uri in removed if (state := states[uri]).bytes_hash)
    moved = 0
    for uri, (source, entry) in listing.items():
        if uri in states and not states[uri].removed:
            continue
        try:
            bytes_hash = _bytes_hash(reader, source.fetch(entry))
        except DocumentRejected:
            continue  # quarantined with its reason later
        if lost[bytes_hash] > 0:
            lost[bytes_hash] -= 1
            moved += 1
    return moved


def _bytes_hash(reader: str, raw: bytes) -> str:
    return hashlib.sha256(reader.encode() + raw).hexdigest()[:32]


def _check_deletions(kb: KnowledgeBase, removed: int, present: int) -> None:
    if _exceeds_limit(kb, removed, present):
        raise SourceUnavailable(
            f"{kb.name}: {removed} of {present} documents are gone from their source, more than max_deletion_ratio "
            f"({kb.max_deletion_ratio:.0%}) allows. Nothing was changed. Check the source; if this is intended, run "
            f"`mindset night {kb.name} --allow-deletions`, or the deployment with allow_deletions."
        )


def _is_due(state: DocumentState | None, etag: str) -> bool:
    # Quarantined documents are retried every night: their permissions, a limit or the network may have been fixed.
    return state is None or state.removed or state.quarantined or state.etag != etag


def _batches(due: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    size = 0
    for source, entry in due:
        if batch and (len(batch) == BATCH_DOCUMENTS or size + entry.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((source, entry))
        size += entry.size
    if batch:
        yield batch


def _read(
    source: Source, entry: SourceEntry, state: DocumentState | None, kb: KnowledgeBase, reader: str, parsers: ParserPool
) -> _ReadDocument:
    try:
        raw = source.fetch(entry)
        bytes_hash = _bytes_hash(reader, raw)
        if state and state.bytes_hash == bytes_hash:
            return _TouchedDocument(entry.uri, entry.etag)
        parsed = parsers.parse(entry.uri, raw)
        content_hash = parsed.content_hash
    except DocumentRejected as rejected:
        return RejectedDocument(entry.uri, entry.etag, str(rejected))
    except _PARSER_ERRORS as error:
        return RejectedDocument(
            entry.uri,
            entry.etag,
            f"The parser failed ({type(error).__name__}). Save it again from its program, or leave it out.",
        )
    return FetchedDocument(
        uri=entry.uri,
        etag=entry.etag,
        bytes_hash=bytes_hash,
        content_hash=content_hash,
        acl=parsed.acl or kb.acl,
        has_own_acl=parsed.acl is not None,
        media_type=parsed.media_type,
        title=parsed.title,
        metadata=parsed.metadata,
        text=parsed.text,
    )


def _store(build: Build, kb: KnowledgeBase, batch: list[_ReadDocument]) -> list[str]:
    """Store a batch in one transaction and return the URIs of new and changed documents."""
    fetched = [document for document in batch if isinstance(document, FetchedDocument)]
    touched = [document for document in batch if isinstance(document, _TouchedDocument)]
    rejected = [document for document in batch if isinstance(document, RejectedDocument)]
    with build.writing() as connection:
        if fetched:
            store_documents(connection, kb.name, fetched)
        touch_documents(connection, kb.name, {document.uri: document.etag for document in touched})
        quarantine_documents(connection, kb.name, rejected, kb.acl)
    return [document.uri for document in fetched]
