"""How costs grow with a knowledge base.

    python -m benchmarks.growth [--documents 1000 10000 100000] [--prefect] [--vectors 10000 100000] [--long] [--repeats 3]

First, nights: a knowledge base of short real notes grows from size to size; at each, nights without a change and nights in
which 50 notes changed are timed, without Prefect (with `--prefect`: as runs of its deployment instead), on a real Postgres
and Chroma, and questions are asked. Then, searches: the same vectors in one to six segments, with recall@20 against exact
search. `--long` adds 1,000,000 vectors, made with the shape of real ones. The figures go into `growth.json`, of which the
tables (Markdown, on standard output) and the chart, `growth.svg`, are made anew.
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
from cli.prepare import PROJECT, command
from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.index.chroma import ChromaIndex
from mindset.installation import open_installation
from mindset.local.supervision import local_stack
from mindset.settings import Settings

_REAL = 100_000
_LONG = 1_000_000


def main() -> None:
    """Measure them, write `growth.json` and `growth.svg`, print tables."""
    chosen = _options()
    file = chosen.out / "growth.json"
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if chosen.only_show:
        _show(known, chosen.out)
        return
    logging.getLogger("httpx").setLevel(logging.WARNING)
    embedder = WordLlamaEmbedder()
    if chosen.documents:
        measured = _nights(chosen.documents, chosen.repeats, chosen.source, embedder, by_prefect=chosen.prefect)
        known["nights by Prefect" if chosen.prefect else "nights"] = [asdict(each) for each in measured]
    sizes = [*chosen.vectors, *([_LONG] if chosen.long else [])]
    if sizes:
        fresh = [asdict(each) for each in _searches(sizes, chosen.source, embedder)]
        kept = [each for each in known.get("searches", []) if each["vectors"] not in sizes]
        known["searches"] = sorted([*kept, *fresh], key=lambda each: (each["vectors"], each["segments"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**known, "machine": machine()}, indent=1) + "\n", encoding="utf-8")
    _show(known, chosen.out)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    options.add_argument(
        "--prefect",
        action="store_true",
        help="time runs of the `nightly` deployment instead of the stages; the figures of these stay",
    )
    options.add_argument("--vectors", type=int, nargs="*", default=[10_000, 100_000])
    options.add_argument("--long", action="store_true", help=f"also {_LONG:,} vectors; takes an hour")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    options.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), help="folder of growth.json and growth.svg"
    )
    options.add_argument(
        "--only-show", action="store_true", help="measure nothing; make tables and chart of growth.json"
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
                installation.vectors.ping()  # loads its client
                if by_prefect:
                    a_night = partial(night_through_prefect, addresses.prefect_api_url or "")
                else:
                    a_night = partial(night, installation, embedder)
                for found in measure_nights(installation, embedder, notes, sizes, repeats, a_night):
                    _say(
                        f"{found.documents:,} documents: {CHANGED} changed in {spread(found.changed)} s, nothing in "
                        f"{spread(found.unchanged)} s; {found.grown_by:,} more in {found.grown:.1f} s"
                    )
                    yield found


def _searches(sizes: Sequence[int], sources: list[Path], embedder: WordLlamaEmbedder) -> Iterator[SearchAt]:
    texts, questions = real_texts(sources, _REAL)
    real, asked = embedder.embed_passages(texts), embedder.embed_passages(questions)
    with (
        tempfile.TemporaryDirectory(prefix="growth-", ignore_cleanup_errors=True) as folder,
        local_stack(Path(folder), services=["chroma"]) as addresses,
    ):
        index = ChromaIndex(addresses.chroma_url or "")
        for size in sizes:
            vectors = real[:size] if size <= _REAL else np.concatenate(list(generated(real, size)))
            for found in measure_segments(index, vectors, asked):
                _say(
                    f"{size:,} vectors, {found.segments} segments: recall@20 {found.recall:.4f}, p50 {found.p50:.2f} ms"
                )
                yield found


def _show(known: dict[str, Any], folder: Path) -> None:
    nights = {name: [NightsAt(**each) for each in known[name]] for name in HOW if name in known}
    searches = [SearchAt(**each) for each in known.get("searches", [])]
    if nights or searches:
        (folder / "growth.svg").write_text(chart(nights, searches), encoding="utf-8")
        print(tables(nights, searches))


def tables(nights: Mapping[str, Sequence[NightsAt]], searches: Sequence[SearchAt]) -> str:
    """All as Markdown; those that were measured."""
    parts = [f"{HOW[name]}\n\n{_nights_table(each)}" for name, each in nights.items()]
    # Questions and maintenance are the same however a night was had: those beside Prefect's server are not shown.
    parts += [_asked_table(nights["nights"])] if "nights" in nights else []
    parts += [_searches_table(searches)] if searches else []
    return "\n\n".join(parts)


def _nights_table(nights: Sequence[NightsAt]) -> str:
    lines = [
        f"| documents | nothing changed, s | {CHANGED} changed, s | against the smallest |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for each in nights:
        ratio = float(np.median(each.changed) / np.median(nights[0].changed))
        lines.append(f"| {each.documents:,} | {spread(each.unchanged)} | {spread(each.changed)} | {ratio:.2f} |")
    return "\n".join(lines)


def _asked_table(nights: Sequence[NightsAt]) -> str:
    lines = ["| documents | maintenance, s | question p50, ms | p95, ms |", "| ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {each.documents:,} | {each.maintained:.2f} | {each.question_p50:.1f} | {each.question_p95:.1f} |"
        for each in nights
    ]
    return "\n".join(lines)


def _searches_table(searches: Sequence[SearchAt]) -> str:
    lines = ["| vectors | segments | recall@20 | p50, ms | p95, ms | against one |", "| ---: |" + " ---: |" * 5]
    for found in searches:
        one = next(each for each in searches if (each.vectors, each.segments) == (found.vectors, 1))
        lines.append(
            f"| {found.vectors:,} | {found.segments} | {found.recall:.4f} | {found.p50:.2f} | {found.p95:.2f} | "
            f"{found.p50 / one.p50:.2f} |"
        )
    return "\n".join(lines)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
