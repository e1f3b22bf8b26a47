"""Recall@20 and cost of HNSW settings, compared with exact search over real text.

    python -m benchmarks.index_recall [--vectors 100000] [--corpus FOLDER ...]

The texts are windows of 10 to 160 consecutive words of the corpora, embedded with WordLlama. The questions are windows of
15 words that are not in the index. `limit` is the number of requested neighbours, of which the best 20 are compared:
retrieval requests 60 candidates. The benchmark starts its own Chroma server.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.texts import DATA, real_texts
from local_stack.supervision import local_stack
from mindset.embedding.protocol import Vectors
from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.vector_index import chroma

SETTINGS: list[dict[str, Any]] = [
    {"max_neighbors": 16, "ef_construction": 100, "ef_search": 100},
    {"max_neighbors": 32, "ef_construction": 200, "ef_search": 200},
    {"max_neighbors": 32, "ef_construction": 200, "ef_search": 400},
    {"max_neighbors": 48, "ef_construction": 300, "ef_search": 400},
]


def main() -> None:
    """Print a table with one row for each setting and limit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--vectors", type=int, default=100_000)
    options.add_argument("--corpus", type=Path, nargs="*", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    chosen = options.parse_args()
    texts, questions = real_texts(chosen.corpus, chosen.vectors)
    embedder = WordLlamaEmbedder()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    vectors, queries = embedder.embed_passages(texts), embedder.embed_passages(questions)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    print(f"{len(vectors)} vectors, {len(queries)} questions")
    print(f"{'M':>4}{'ef_c':>6}{'ef_s':>6}{'vectors/s':>11}{'limit':>7}{'recall@20':>11}{'p50 ms':>8}{'p95 ms':>8}")
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        local_stack(Path(folder), services=["chroma"]) as addresses,
    ):
        index = chroma.ChromaIndex(addresses.chroma_url or "")
        for number, settings in enumerate(SETTINGS):
            chroma.HNSW.update(settings)
            name = f"recall-{number}"
            started = time.perf_counter()
            ids = [str(row) for row in range(len(vectors))]
            for _ in index.write(name, [(ids, vectors)]):
                pass
            rate = len(vectors) / (time.perf_counter() - started)
            for limit in (20, 60):
                recall, milliseconds = _measure(index, name, queries, exact, limit)
                cuts = statistics.quantiles(milliseconds, n=20)
                print(
                    f"{settings['max_neighbors']:>4}{settings['ef_construction']:>6}{settings['ef_search']:>6}{rate:>11.0f}"
                    f"{limit:>7}{recall:>11.4f}{statistics.median(milliseconds):>8.2f}{cuts[18]:>8.2f}",
                    flush=True,
                )
            index.drop(name)


def _measure(
    index: chroma.ChromaIndex, name: str, queries: Vectors, exact: np.ndarray[Any, Any], limit: int
) -> tuple[float, list[float]]:
    recalls, milliseconds = [], []
    for vector, expected in zip(queries, exact, strict=True):
        started = time.perf_counter()
        hits = index.search(name, vector, limit)
        milliseconds.append((time.perf_counter() - started) * 1000)
        recalls.append(len({int(hit.chunk_id) for hit in hits} & set(expected.tolist())) / 20)
    return statistics.mean(recalls), milliseconds


if __name__ == "__main__":
    main()
