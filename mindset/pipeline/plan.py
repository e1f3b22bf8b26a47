"""The plan of a build, as data, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.catalog.documents import has_unplaced_or_removed, removed_documents, unplaced_documents
from mindset.catalog.evaluations import newest_evaluation
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import live_version
from mindset.catalog.transactions import Connection
from mindset.catalog.versions import Version, building_version, newest_version, pending_version
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import ranking_options
from mindset.embedding.registry import model_id
from mindset.errors import UnknownVersion


@dataclass(frozen=True)
class WorkDue:
    """What a night still has to do after ingestion."""

    build: bool
    """Whether there is a version to build, or to continue building."""

    release: bool
    """Whether a version built earlier still has to be evaluated and released."""


@dataclass(frozen=True)
class BuildPlan:
    """What a build would do now."""

    to_chunk: tuple[str, ...]
    """URIs of documents to chunk, for the first time or again."""

    to_remove: tuple[str, ...]
    """URIs of documents whose chunks the new version no longer contains."""

    needs_version: bool
    """Whether a version is needed even without changed documents: to resume a build, or for a new model or ranking."""

    @property
    def builds(self) -> bool:
        """Whether there is a version to build. If not, a night changes nothing."""
        return bool(self.to_chunk or self.to_remove or self.needs_version)


def work_due(catalog: Catalog, kb: KnowledgeBase) -> WorkDue:
    """Return what is to be done after ingestion. The cost does not depend on the number of changed documents."""
    with catalog.reading() as connection:
        changed = has_unplaced_or_removed(connection, kb.name, kb.chunking.fingerprint, model_id(kb.embedding))
        return WorkDue(
            build=changed or _version_needed(connection, kb),
            release=pending_version(connection, kb.name) is not None,
        )


def plan_build(catalog: Catalog, kb: KnowledgeBase) -> BuildPlan:
    """Return what a build would do now; call it after ingestion."""
    with catalog.reading() as connection:
        return BuildPlan(
            to_chunk=tuple(unplaced_documents(connection, kb.name, kb.chunking.fingerprint, model_id(kb.embedding))),
            to_remove=tuple(removed_documents(connection, kb.name)),
            needs_version=_version_needed(connection, kb),
        )


def _version_needed(connection: Connection, kb: KnowledgeBase) -> bool:
    return needs_version(newest_version(connection, kb.name), building_version(connection, kb.name), kb)


def needs_version(newest: Version | None, building: Version | None, kb: KnowledgeBase) -> bool:
    """Return whether a build was interrupted, or the newest version has another model or ranking than the definition."""
    return building is not None or (
        newest is not None and (newest.model, newest.ranking) != (model_id(kb.embedding), ranking_options(kb))
    )


def rebuild_duty_cycle(catalog: Catalog, kb: KnowledgeBase, duty_cycle: float) -> float:
    """Return `duty_cycle` if the build rebuilds everything while a version is live, for another model or chunking.

    Otherwise 1: the build is not throttled."""
    with catalog.reading() as connection:
        newest, live = newest_version(connection, kb.name), live_version(connection, kb.name)
    return duty_cycle if live is not None and rebuilds_everything(newest, kb) else 1.0


def rebuilds_everything(newest: Version | None, kb: KnowledgeBase) -> bool:
    """Return whether the definition's model or chunking differs from the newest version's."""
    if newest is None:
        return False
    return (newest.model, newest.chunking) != (model_id(kb.embedding), kb.chunking.fingerprint)


def version_being_built(catalog: Catalog, kb: str) -> int:
    """Return the version to embed and index. Raises UnknownVersion if no build has begun."""
    with catalog.reading() as connection:
        building = building_version(connection, kb)
    if building is None:
        raise UnknownVersion(f"{kb} has no version in progress. Run the chunk stage, or a whole night.")
    return building.number


def version_to_evaluate(catalog: Catalog, kb: str) -> int:
    """Return the newest version whose release is due, or else the newest one. Raises UnknownVersion."""
    with catalog.reading() as connection:
        newest = newest_version(connection, kb)
        pending = pending_version(connection, kb)
    if newest is None:
        raise UnknownVersion(f"{kb} has no finished version yet. Run a night first.")
    return pending or newest.number


def evaluation_to_deploy(catalog: Catalog, kb: str) -> int:
    """Return the last evaluation of the version to evaluate. Raises UnknownVersion if it was not evaluated."""
    version = version_to_evaluate(catalog, kb)
    with catalog.reading() as connection:
        evaluation = newest_evaluation(connection, kb, version)
    if evaluation is None:
        raise UnknownVersion(f"Version {version} of {kb} was not evaluated yet. Run the evaluate stage first.")
    return evaluation.id
