"""A build as data, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.catalog.connection import Catalog
from mindset.catalog.documents import departed_documents, unplaced_documents
from mindset.catalog.versions import building_version, newest_version, pending_version
from mindset.embedding.registry import model_id
from mindset.knowledge_base import KnowledgeBase


@dataclass(frozen=True)
class BuildPlan:
    """What a build would do now."""

    place: tuple[str, ...]
    """URIs to cut (again)."""

    displace: tuple[str, ...]
    """URIs whose chunks the new version no longer shows."""

    resumes: int | None
    """The version that an interrupted build has begun."""

    pending: int | None
    """A built version that still waits for its evaluation and release; None once the build makes a newer one."""

    new_model: bool
    """Whether every text needs a vector of another model."""

    @property
    def builds(self) -> bool:
        """Whether there is a version to make. Without one a night changes nothing."""
        return bool(self.place or self.displace or self.resumes or self.new_model)


def plan_build(catalog: Catalog, kb: KnowledgeBase) -> BuildPlan:
    """What a build would do now, after the documents were ingested."""
    with catalog.reading() as connection:
        newest = newest_version(connection, kb.name)
        building = building_version(connection, kb.name)
        return BuildPlan(
            place=tuple(unplaced_documents(connection, kb.name, kb.chunking.fingerprint)),
            displace=tuple(departed_documents(connection, kb.name)),
            resumes=building.number if building else None,
            pending=pending_version(connection, kb.name),
            new_model=newest is not None and newest.model != model_id(kb.embedding),
        )
