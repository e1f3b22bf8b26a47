"""A build as data, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.catalog.connection import Catalog
from mindset.catalog.documents import departed_documents, unplaced_documents
from mindset.catalog.evaluations import newest_evaluation
from mindset.catalog.releases import live_version
from mindset.catalog.versions import building_version, newest_version, pending_version
from mindset.embedding.registry import model_id
from mindset.errors import UnknownVersion
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


def rebuild_share(catalog: Catalog, kb: KnowledgeBase, share: float) -> float:
    """`share`, where a build makes everything anew beside what is live, for another model or chunking; else 1."""
    with catalog.reading() as connection:
        newest, live = newest_version(connection, kb.name), live_version(connection, kb.name)
    if newest is None or live is None:
        return 1.0
    same = (newest.model, newest.chunking) == (model_id(kb.embedding), kb.chunking.fingerprint)
    return 1.0 if same else share


def version_being_built(catalog: Catalog, kb: str) -> int:
    """The version to embed and index. Raises UnknownVersion where no build has begun."""
    with catalog.reading() as connection:
        building = building_version(connection, kb)
    if building is None:
        raise UnknownVersion(f"{kb} has no version in the making. Run the chunk stage, or a whole night.")
    return building.number


def version_to_evaluate(catalog: Catalog, kb: str) -> int:
    """The newest version that waits for its release, else the newest. Raises UnknownVersion where there is none."""
    with catalog.reading() as connection:
        newest = newest_version(connection, kb)
        waiting = pending_version(connection, kb)
    if newest is None:
        raise UnknownVersion(f"{kb} has no finished version yet. Run a night first.")
    return waiting or newest.number


def evaluation_to_deploy(catalog: Catalog, kb: str) -> int:
    """The last evaluation of the version to evaluate. Raises UnknownVersion where it was not evaluated."""
    version = version_to_evaluate(catalog, kb)
    with catalog.reading() as connection:
        found = newest_evaluation(connection, kb, version)
    if found is None:
        raise UnknownVersion(f"Version {version} of {kb} was not evaluated yet. Run the evaluate stage first.")
    return found.id
