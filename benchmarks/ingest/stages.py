"""Product Mindset without Prefect: the stages of a night in order. Each version is promoted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import yaml
from pydantic import SecretStr

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from mindset.application import Installation, open_installation
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import version_snapshot
from mindset.catalog.transactions import rows
from mindset.catalog.visibility import VISIBLE
from mindset.chunking.chunker import chunk_document
from mindset.config.build_options import Chunking
from mindset.config.settings import Settings
from mindset.parsing.registry import parse
from mindset.pipeline.chunk import chunk
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.plan import plan_build
from mindset.pipeline.segments import restore_live
from mindset.releases import promotion
from mindset.vector_index.client import open_client

KB = "bench"


class Stages:
    """Ingest, chunk, embed, index, promote."""

    peak_bytes = None

    def __init__(self, task: Task) -> None:
        self._task = task
        self._embedder = open_embedder(task.embedder)
        open_client(task.chroma_url).heartbeat()  # imports the client
        warm = parse("warm-up.md", b"# Warm up\n\nA sentence.\n")
        list(chunk_document(warm.text, warm.title, warm.media_type, Chunking()))

    def run(self) -> None:
        with _installation(self._task) as opened, opened.catalog.build_lock(KB) as lock:
            catalog, build, kb = opened.catalog, lock.build, opened.knowledge_base(KB)
            ingest(build, kb)
            plan = plan_build(catalog, kb)
            if not plan.builds:
                restore_live(build, KB, opened.vectors)
                return
            version = chunk(build, kb, plan).version
            embed(build, kb, self._embedder, version)
            index(build, kb, opened.vectors, version)
            promotion.promote(catalog, KB, version, "benchmark", "measured")

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return visible(self._task.postgres_url, uris)


def visible(postgres_url: str, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
    """Return the number of chunks of the live release that everyone may read, and the texts of those of these documents."""
    visible_chunks = f"""FROM placement p
        JOIN document d ON d.kb = p.kb AND d.uri = p.uri JOIN chunk c ON c.kb = p.kb AND c.id = p.chunk_id
        WHERE p.kb = %(kb)s AND {VISIBLE}"""
    texts: dict[str, list[str]] = {uri: [] for uri in uris}
    with Catalog(postgres_url) as catalog, catalog.reading() as connection:
        live = version_snapshot(connection, KB)
        assert live, "There is no live version"
        parameters = {"kb": KB, "version": live.version, "principals": ["*"]}
        count = rows(connection, f"SELECT count(*) {visible_chunks}", **parameters)[0][0]
        matching = f"SELECT p.uri, c.text {visible_chunks} AND p.uri = ANY(%(uris)s)"
        readable = rows(connection, matching, **parameters, uris=list(uris))
    for uri, text in readable:
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
