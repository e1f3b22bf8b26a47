"""Compare ingestion with Product Mindset, with other libraries and with a bare loop.

    python -m benchmarks.ingest [--documents 2000 20000] [--repeats 1] [--contestants mindset llamaindex ...]

Each contestant ingests the same documents with the same embedder and the same HNSW settings into a real Chroma server, in its
own process and on its own stack: first from scratch, then with nothing changed, then with 1 % of the documents changed, then
with 1 % deleted. Imports and the model are loaded before the time starts, except for `nightly`, where the whole run is
timed. The figures are added to `ingest.json`. The tables (Markdown, on standard output) and the chart are generated from it.
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
    """Run the trials and print the tables. Exit with 1 if a contestant failed."""
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
            _log(f"{documents:,} documents written in {time.perf_counter() - started:.1f} s")
            # Each repeat runs all contestants, so that other work on the machine affects all of them.
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
    options.add_argument("--documents", type=int, nargs="+", default=[2_000], help="numbers of documents to measure")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    options.add_argument("--embedder", choices=(*NAMES, "both"), default="both")
    options.add_argument(
        "--out", type=Path, default=Path("docs/benchmarks"), help="folder of ingest.json and ingest.svg"
    )
    options.add_argument(
        "--only-show", action="store_true", help="measure nothing; show the tables and chart of ingest.json"
    )
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    return options.parse_args()


def _measure(results: Results, contestant: str, embedder: str, corpus: Corpus, home: Path) -> bool:
    """Run one trial and return whether it succeeded. Results before a failure are kept."""
    name = f"{contestant}, {embedder}, {corpus.documents:,} documents"
    _log(f"{name}: starting servers")
    try:
        for measured in run_trial(contestant, embedder, corpus, home, lambda line: _log(f"{name}: {line}")):
            results.add(corpus.documents, embedder, contestant, measured)
            stale = f", {measured.left_over} of {measured.touched} stale" if measured.touched else ""
            _log(
                f"{name}: {measured.scenario} {measured.seconds:.2f} s, {measured.peak_bytes / 2**20:.0f} MiB, "
                f"{measured.chunks:,} chunks, {measured.vectors:,} vectors{stale}"
            )
    except (ContestantFailed, MindsetError, AssertionError) as failure:
        _log(f"{name}: FAILED: {failure}")
        return False
    return True


def _show(results: Results, folder: Path) -> None:
    if results.rows:
        (folder / "ingest.svg").write_text(chart(results.rows), encoding="utf-8")
        print(tables(results.rows))


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
