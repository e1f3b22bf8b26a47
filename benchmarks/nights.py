"""Duration of nightly runs over real documents, through Prefect's server, worker and deployments.

    python -m benchmarks.nights [--documents ../shared/data/guides] [--golden ../shared/data/guides.golden.jsonl] [--repeats 3]

The benchmark starts its own stack in a temporary folder, over a copy of the documents. A night is timed from the request to
Prefect until the run has ended. This includes the start of the worker's process and Prefect's own bookkeeping.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.addresses import Addresses
from local_stack.supervision import local_stack
from mindset.pipeline.prefect_client import PrefectClient

CHANGED = 3


def main() -> None:
    """Print one line per night with the seconds of its stages, and the report of the first night."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=Path, default=Path("../shared/data/guides"))
    options.add_argument("--golden", type=Path, default=Path("../shared/data/guides.golden.jsonl"))
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        documents = home / "documents"
        shutil.copytree(chosen.documents, documents)
        _define(home, documents, chosen.golden.resolve())
        with _stack(home) as addresses, PrefectClient(addresses.prefect_api_url or "") as nights:
            first = _night(nights, "from scratch")
            _summarise([_night(nights, "nothing changed") for _ in range(chosen.repeats)])
            files = sorted(documents.rglob("*.md"))
            seconds = []
            for repeat in range(chosen.repeats):
                for file in files[repeat * CHANGED : (repeat + 1) * CHANGED]:
                    with file.open("a") as text:
                        text.write(f"\nThis sentence is new, number {repeat}.\n")
                seconds.append(_night(nights, f"{CHANGED} files changed"))
            _summarise(seconds)
        print(f"\nfrom scratch: {first:.1f} s")


def _define(home: Path, documents: Path, golden: Path) -> None:
    (home / "knowledge_bases").mkdir()
    definition = {
        "name": "bench",
        "title": "Benchmark",
        "sources": [{"kind": "folder", "path": str(documents)}],
        "evaluation": {"golden_set": str(golden), "optional": True},
    }
    (home / "knowledge_bases" / "bench.yaml").write_text(yaml.safe_dump(definition))


@contextmanager
def _stack(home: Path) -> Iterator[Addresses]:
    os.environ["MINDSET_KNOWLEDGE_BASES"] = str(home / "knowledge_bases")  # the worker's flows inherit it
    started = time.perf_counter()
    with local_stack(home / "stack", project=PROJECT, prepare=command()) as addresses:
        print(f"{'stack':<20}{time.perf_counter() - started:6.1f} s until all servers were ready")
        yield addresses


def _night(nights: PrefectClient, name: str) -> float:
    started = time.perf_counter()
    run = nights.start("nightly/nightly", {"parameters": {"kb": "bench"}})
    while not run.ended:
        time.sleep(0.1)
        run = nights.get(run.id)
    seconds = time.perf_counter() - started
    report = nights.report(run.id) or ""
    assert run.succeeded, run.message
    stages = ", ".join(
        f"{stage} {took}" for stage, took in re.findall(r"^\| (\w+) \| ([\d.]+) s \|$", report, re.MULTILINE)
    )
    texts = re.search(r"(\d+) texts embedded", report)
    print(f"{name:<20}{seconds:6.1f} s  {stages}; {texts[1] if texts else 0} texts embedded", flush=True)
    if name == "from scratch":
        print("\n" + report[report.find("## Evaluation") : report.find("## Quarantined")] + "\n")
    return seconds


def _summarise(seconds: list[float]) -> None:
    print(f"{'':<20}{statistics.median(seconds):6.1f} s median ({min(seconds):.1f} to {max(seconds):.1f})")


if __name__ == "__main__":
    main()
