"""Product Mindset: its stages in the order of a night, without Prefect, and every version goes live."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import yaml
from pydantic import SecretStr

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from mindset import releases
from mindset.builds.chunk import chunk
from mindset.builds.embed import embed
from mindset.builds.index import index
from mindset.builds.ingest import ingest
from mindset.builds.plan import plan_build
from mindset.builds.segments import restore_live
from mindset.catalog.connection import Catalog, rows
from mindset.catalog.passages import VISIBLE
from mindset.catalog.releases import served
from mindset.chunking.chunker import cut_document
from mindset.index.client import open_client
from mindset.installation import Installation, open_installation
from mindset.knowledge_base import Chunking
from mindset.parsing.formats import parse
from mindset.settings import Settings

KB = "bench"


class Stages:
    """Ingest, chunk, embed, index, release."""

    peak_bytes = None

    def __init__(self, task: Task) -> None:
        self._task = task
        self._embedder = open_embedder(task.embedder)
        open_client(task.chroma_url).heartbeat()  # imports it
        warm = parse("warm-up.md", b"# Warm up\n\nA sentence.\n")
        list(cut_document(warm.text, warm.title, warm.media_type, Chunking()))

    def run(self) -> None:
        with _installation(self._task) as opened, opened.catalog.build_lock(KB):
            catalog, kb = opened.catalog, opened.knowledge_base(KB)
            ingest(catalog, kb)
            plan = plan_build(catalog, kb)
            if not plan.builds:
                restore_live(catalog, KB, opened.vectors)
                return
            version = chunk(catalog, kb, plan).version
            embed(catalog, kb, self._embedder, version)
            index(catalog, kb, opened.vectors, version)
            releases.promote(catalog, KB, version, "benchmark", "measured")

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return visible(self._task.postgres_url, uris)


def visible(postgres_url: str, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
    """How many chunks the live release shows to everyone, and the texts of those of these documents."""
    shown = f"""FROM placement p
        JOIN document d ON d.kb = p.kb AND d.uri = p.uri JOIN chunk c ON c.kb = p.kb AND c.id = p.chunk
        WHERE p.kb = %(kb)s AND {VISIBLE}"""
    texts: dict[str, list[str]] = {uri: [] for uri in uris}
    with Catalog(postgres_url) as catalog, catalog.reading() as connection:
        live = served(connection, KB)
        assert live, "nothing is live"
        asked = {"kb": KB, "version": live.version, "principals": ["*"]}
        count = rows(connection, f"SELECT count(*) {shown}", **asked)[0][0]
        found = rows(connection, f"SELECT p.uri, c.text {shown} AND p.uri = ANY(%(uris)s)", **asked, uris=list(uris))
    for uri, text in found:
        texts[uri].append(text)
    return int(count), texts


def define(folder: Path, documents: Path) -> None:
    """Write the definition of the knowledge base into a folder of definitions."""
    folder.mkdir(parents=True, exist_ok=True)
    definition = {"name": KB, "title": "Benchmark", "sources": [{"kind": "folder", "path": str(documents)}]}
    (folder / f"{KB}.yaml").write_text(yaml.safe_dump(definition))


def _installation(task: Task) -> AbstractContextManager[Installation]:
    return open_installation(
        Settings(
            knowledge_bases=Path(task.state),
            postgres_url=SecretStr(task.postgres_url),
            chroma_url=task.chroma_url,
        )
    )
