"""Growth of costs with the size of a knowledge base.

    python -m benchmarks.growth [--documents 1000 10000 100000] [--prefect] [--vectors 10000 100000] [--long] [--repeats 3]

Nights: a knowledge base of short real notes grows from size to size. At each size, the benchmark times nights without
changes and nights with 50 changed notes, on a real Postgres and Chroma, and asks questions. The nights run without Prefect,
or with `--prefect` as runs of the deployment. Searches: the same vectors in one to six segments, with recall@20 against
exact search. `--long` adds 1,000,000 vectors, generated with the distribution of real ones. The figures go into
`growth.json`. The tables (Markdown, on standard output) and the chart, `growth.svg`, are generated from it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import SecretStr

from benchmarks.growth.chart import HOW, chart
from benchmarks.growth.nights import CHANGED, KB, NightsAt, Notes, measure_nights, night, night_through_prefect
from benchmarks.growth.segments import SearchAt, generated, measure_segments
from benchmarks.ingest.contestant import CONTESTANTS
from benchmarks.ingest.corpus import real_sentences
from benchmarks.machine import machine, spread
from benchmarks.texts import DATA, real_texts
from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.supervision import local_stack
from mindset.application import open_installation
from mindset.config.settings import Settings
from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.vector_index.chroma import ChromaIndex

_REAL = 100_000
_LONG = 1_000_000


def main() -> None:
    """Measure, write `growth.json` and `growth.svg`, and print tables."""
    chosen = _options()
    file = chosen.out / "growth.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if chosen.only_show:
        _show(results, chosen.out)
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)
    embedder = WordLlamaEmbedder()
    if chosen.documents:
        measured = _nights(chosen.documents, chosen.repeats, chosen.source, embedder, by_prefect=chosen.prefect)
        results["nights by Prefect" if chosen.prefect else "nights"] = [asdict(nights) for nights in measured]
    sizes = [*chosen.vectors, *([_LONG] if chosen.long else [])]
    if sizes:
        new = [asdict(search) for search in _searches(sizes, chosen.source, embedder)]
        old = [search for search in results.get("searches", []) if search["vectors"] not in sizes]
        results["searches"] = sorted([*old, *new], key=lambda search: (search["vectors"], search["segments"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**results, "machine": machine()}, indent=1) + "\n", encoding="utf-8")
    _show(results, chosen.out)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    options.add_argument(
        "--prefect",
        action="store_true",
        help="time runs of the `nightly` deployment instead of the stages, and keep the figures of the stages",
    )
    options.add_argument("--vectors", type=int, nargs="*", default=[10_000, 100_000])
    options.add_argument("--long", action="store_true", help=f"also {_LONG:,} vectors; takes an hour")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    options.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), help="folder of growth.json and growth.svg"
    )
    options.add_argument(
        "--only-show", action="store_true", help="measure nothing; show the tables and chart of growth.json"
    )
    return options.parse_args()


def _nights(
    sizes: Sequence[int], repeats: int, sources: list[Path], embedder: WordLlamaEmbedder, *, by_prefect: bool
) -> Iterator[NightsAt]:
    with tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        notes = Notes(folder / "notes", real_sentences(sources))
        definition = {"name": KB, "title": "Growth", "sources": [{"kind": "folder", "path": str(notes.folder)}]}
        (folder / f"{KB}.yaml").write_text(yaml.safe_dump(definition))
        services = CONTESTANTS["nightly" if by_prefect else "mindset"].services
        with local_stack(
            folder / "stack", services=services, project=PROJECT, prepare=command(), knowledge_bases=folder
        ) as addresses:
            assert addresses.postgres_url
            settings = Settings(
                knowledge_bases=folder,
                postgres_url=SecretStr(addresses.postgres_url),
                chroma_url=addresses.chroma_url,
            )
            with open_installation(settings) as installation:
                installation.vectors.ping()  # imports the client
                if by_prefect:
                    a_night = partial(night_through_prefect, addresses.prefect_api_url or "")
                else:
                    a_night = partial(night, installation, embedder)
                for nights in measure_nights(installation, embedder, notes, sizes, repeats, a_night):
                    _log(
                        f"{nights.documents:,} documents: {CHANGED} changed in {spread(nights.changed)} s, nothing in "
                        f"{spread(nights.unchanged)} s; {nights.grown_by:,} more in {nights.grown:.1f} s"
                    )
                    yield nights


def _searches(sizes: Sequence[int], sources: list[Path], embedder: WordLlamaEmbedder) -> Iterator[SearchAt]:
    texts, questions = real_texts(sources, _REAL)
    real, queries = embedder.embed_passages(texts), embedder.embed_passages(questions)
    with (
        tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as folder,
        local_stack(Path(folder), services=["chroma"]) as addresses,
    ):
        index = ChromaIndex(addresses.chroma_url or "")
        for size in sizes:
            vectors = real[:size] if size <= _REAL else np.concatenate(list(generated(real, size)))
            for search in measure_segments(index, vectors, queries):
                _log(
                    f"{size:,} vectors, {search.segments} segments: recall@20 {search.recall:.4f}, "
                    f"p50 {search.p50:.2f} ms"
                )
                yield search


def _show(results: dict[str, Any], folder: Path) -> None:
    nights = {name: [NightsAt(**row) for row in results[name]] for name in HOW if name in results}
    searches = [SearchAt(**row) for row in results.get("searches", [])]
    if nights or searches:
        (folder / "growth.svg").write_text(chart(nights, searches), encoding="utf-8")
        print(tables(nights, searches))


def tables(nights: Mapping[str, Sequence[NightsAt]], searches: Sequence[SearchAt]) -> str:
    """Return Markdown tables of everything measured."""
    parts = [f"{HOW[name]}\n\n{_nights_table(sizes)}" for name, sizes in nights.items()]
    # Questions and maintenance do not depend on how a night ran: those measured next to Prefect's server are left out.
    parts += [_asked_table(nights["nights"])] if "nights" in nights else []
    parts += [_searches_table(searches)] if searches else []
    return "\n\n".join(parts)


def _nights_table(nights: Sequence[NightsAt]) -> str:
    lines = [
        f"| documents | nothing changed, s | {CHANGED} changed, s | against the smallest |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for size in nights:
        ratio = float(np.median(size.changed) / np.median(nights[0].changed))
        lines.append(f"| {size.documents:,} | {spread(size.unchanged)} | {spread(size.changed)} | {ratio:.2f} |")
    return "\n".join(lines)


def _asked_table(nights: Sequence[NightsAt]) -> str:
    lines = ["| documents | maintenance, s | question p50, ms | p95, ms |", "| ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {size.documents:,} | {size.maintained:.2f} | {size.question_p50:.1f} | {size.question_p95:.1f} |"
        for size in nights
    ]
    return "\n".join(lines)


def _searches_table(searches: Sequence[SearchAt]) -> str:
    lines = ["| vectors | segments | recall@20 | p50, ms | p95, ms | against one |", "| ---: |" + " ---: |" * 5]
    for search in searches:
        single = next(other for other in searches if (other.vectors, other.segments) == (search.vectors, 1))
        lines.append(
            f"| {search.vectors:,} | {search.segments} | {search.recall:.4f} | {search.p50:.2f} | {search.p95:.2f} | "
            f"{search.p50 / single.p50:.2f} |"
        )
    return "\n".join(lines)


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
