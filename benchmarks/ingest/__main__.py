"""Ingesting, measured side by side: Product Mindset, its peers, and nothing but a loop.

    python -m benchmarks.ingest [--documents 2000 20000] [--repeats 1] [--contestants mindset llamaindex ...]

Everybody ingests the same documents with the same embedder and the same HNSW settings into a real Chroma server, in a process
of its own, on a stack of its own: first from nothing, then with nothing changed, then with 1 % of the documents changed,
then with 1 % deleted. Imports and the model are loaded before the clock runs, but for `nightly`, whose night is timed
whole. The figures are added to `ingest.json`, of which the tables (Markdown, on standard output) and the chart are made anew.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ingest.chart import chart
from benchmarks.ingest.contestant import CONTESTANTS
from benchmarks.ingest.corpus import Corpus, generate
from benchmarks.ingest.embedders import NAMES
from benchmarks.ingest.process import ContestantFailed, check_environment
from benchmarks.ingest.results import Results, tables
from benchmarks.ingest.trial import run_trial
from benchmarks.texts import DATA
from mindset.errors import MindsetError


def main() -> None:
    """Run the trials; print the tables; exit with 1 if a contestant failed."""
    chosen = _options()
    results = Results(chosen.out / "ingest.json")
    if chosen.only_show:
        _show(results, chosen.out)
        return
    check_environment(chosen.contestants)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    embedders = NAMES if chosen.embedder == "both" else (chosen.embedder,)
    failed = False
    with tempfile.TemporaryDirectory(prefix="ingest-", ignore_cleanup_errors=True) as folder:
        for documents in chosen.documents:
            started = time.perf_counter()
            corpus = generate(Path(folder) / f"documents-{documents}", documents, chosen.source)
            _say(f"{documents:,} documents written in {time.perf_counter() - started:.1f} s")
            # A repeat goes through everybody, so that whatever else the machine does meets all of them.
            for repeat in range(chosen.repeats):
                for embedder in embedders:
                    for contestant in chosen.contestants:
                        if embedder in CONTESTANTS[contestant].embedders:
                            home = Path(folder) / f"{contestant}-{embedder}-{documents}-{repeat}"
                            failed |= not _measure(results, contestant, embedder, corpus, home)
    _show(results, chosen.out)
    sys.exit(failed)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, nargs="+", default=[2_000], help="sizes, each measured")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    options.add_argument("--embedder", choices=(*NAMES, "both"), default="both")
    options.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), help="folder of ingest.json and ingest.svg"
    )
    options.add_argument(
        "--only-show", action="store_true", help="measure nothing; make table and chart of ingest.json"
    )
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    return options.parse_args()


def _measure(results: Results, contestant: str, embedder: str, corpus: Corpus, home: Path) -> bool:
    """One trial; whether it succeeded. What it measured before it failed is kept."""
    name = f"{contestant}, {embedder}, {corpus.documents:,} documents"
    _say(f"{name}: starting servers")
    try:
        for measured in run_trial(contestant, embedder, corpus, home, lambda line: _say(f"{name}: {line}")):
            results.add(corpus.documents, embedder, contestant, measured)
            left = f", {measured.left_over} of {measured.touched} left over" if measured.touched else ""
            _say(
                f"{name}: {measured.scenario} {measured.seconds:.2f} s, {measured.peak_bytes / 2**20:.0f} MiB, "
                f"{measured.chunks:,} chunks, {measured.vectors:,} vectors{left}"
            )
    except (ContestantFailed, MindsetError, AssertionError) as failure:
        _say(f"{name}: FAILED: {failure}")
        return False
    return True


def _show(results: Results, folder: Path) -> None:
    if results.rows:
        (folder / "ingest.svg").write_text(chart(results.rows), encoding="utf-8")
        print(tables(results.rows))


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
