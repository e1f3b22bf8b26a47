"""Quality of retrieval and of extractive answers, compared with textbook methods.

    python -m benchmarks.quality [--data ../shared/data] [--golden FOLDER QUESTIONS.jsonl] [--chunking FOLDER]
                                 [--beir FOLDER] [--onnx] [--out docs/benchmarks]

Each corpus gets a real night in a stack of its own. Peers get the texts that our parsers return, so that only cutting,
embedding and ranking differ: BM25 by the library bm25s over our chunks and over pieces of LangChain's recursive splitter,
and dense search over these pieces with the same embedder, which is LangChain's default pipeline. Differences to the
product's default come with a 95 % interval (paired bootstrap); if it contains 0, the difference may be chance.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.quality.measures import Found, interval, measure
from benchmarks.quality.product import Product, stack
from benchmarks.quality.questions import Corpus, beir, chunking_benchmark, golden
from benchmarks.quality.textbook import bm25, dense, langchain_pieces
from mindset.application import Installation
from mindset.chunking.chunker import chunk_document
from mindset.errors import DocumentRejected
from mindset.evaluation.evidence import Span, locate
from mindset.evaluation.golden_set import Question
from mindset.parsing.document import ParsedDocument
from mindset.parsing.registry import FORMATS, parse

_DEPTH = 20
Method = Callable[[str, int], list[Found]]


def main() -> None:
    """Print the tables, and write them to `quality.md`."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--golden", type=Path, nargs=2, action="append", default=[], metavar=("FOLDER", "QUESTIONS"))
    options.add_argument("--chunking", type=Path, action="append", default=[], metavar="FOLDER")
    options.add_argument("--beir", type=Path, action="append", default=[], metavar="FOLDER")
    options.add_argument("--onnx", action="store_true", help="also measure all-MiniLM-L6-v2, which takes minutes")
    options.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    chosen = options.parse_args()
    for noisy in ("httpx", "bm25s"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="quality-", ignore_cleanup_errors=True) as folder:
        corpora = list(_corpora(chosen, Path(folder)))
        if not corpora:
            options.error(f"{chosen.data} has neither guides nor chunking: name the folder with --data")
        with stack(Path(folder) / "stack") as installation:
            parts = [_measure(installation, number, corpus, onnx=chosen.onnx) for number, corpus in enumerate(corpora)]
    report = "\n\n".join(parts)
    (chosen.out / "quality.md").write_text(
        _PAGE.format(report=report, machine=machine()["processor"], cores=machine()["cores"])
    )
    print(report)


_PAGE = """---
title: Quality
---
# Quality

By `make bench-quality`, on {cores} cores of {machine}. Differences to the product with the same embedder (with
WordLlama where there is none) have a 95 % interval (paired bootstrap); if it contains 0, the difference may be chance.
See [Benchmarks](../benchmarks.md#quality) for the method.

{report}
"""


def _corpora(chosen: argparse.Namespace, folder: Path) -> Iterator[Corpus]:
    guides, chunking = chosen.data / "guides", chosen.data / "chunking"
    if guides.is_dir():
        yield golden(guides, chosen.data / "guides.golden.jsonl")
    if chunking.is_dir():
        yield chunking_benchmark(chunking)
    for missing in (folder for folder in (guides, chunking) if not folder.is_dir()):
        _log(f"{missing} is missing, so it is not measured")
    yield from (golden(documents, questions) for documents, questions in chosen.golden)
    yield from (chunking_benchmark(each) for each in chosen.chunking)
    yield from (beir(each, folder) for each in chosen.beir)


def _measure(installation: Installation, number: int, corpus: Corpus, *, onnx: bool) -> str:
    parsed = dict(_parsed(corpus.documents))
    texts = {uri: document.text for uri, document in parsed.items()}
    static = Product(installation, f"corpus-{number}", corpus, {"provider": "wordllama"})
    _log(f"{corpus.name}: {len(texts)} documents, a night of {static.seconds:.0f} s")
    ours = [
        (placed_uri, placed)
        for placed_uri, document in parsed.items()
        for placed in chunk_document(document.text, document.title, document.media_type, static.kb.chunking)
    ]
    chunks = [(Span(uri, one.span.start, one.span.end), f"{one.chunk.context}\n{one.chunk.text}") for uri, one in ours]
    pieces = langchain_pieces(texts)
    methods: dict[str, Method] = {
        "Product Mindset": static.rank,
        "full text only": lambda question, limit: static.rank(question, limit, dense_weight=0.0),
        "WordLlama only": lambda question, limit: static.rank(question, limit, lexical_weight=0.0),
        "bm25s, our chunks": bm25(chunks),
        "bm25s, LangChain's pieces": bm25(pieces),
        "LangChain's default, WordLlama": dense(pieces, static.embedder),
    }
    if onnx:
        model = Product(installation, f"corpus-{number}-onnx", corpus, {"provider": "onnx"})
        _log(f"{corpus.name}: a night of {model.seconds:.0f} s with MiniLM")
        methods["Product Mindset, MiniLM"] = model.rank
        methods["LangChain's default, MiniLM"] = dense(pieces, model.embedder)
    return "\n\n".join([f"## {corpus.name}", _retrieval(corpus, texts, methods), _answers(corpus, static)])


def _parsed(folder: Path) -> Iterator[tuple[str, ParsedDocument]]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in FORMATS:
            uri = str(file.relative_to(folder))
            try:
                yield uri, parse(uri, file.read_bytes())
            except DocumentRejected as rejected:
                _log(f"{uri}: {rejected}")


def _retrieval(corpus: Corpus, texts: dict[str, str], methods: dict[str, Method]) -> str:
    asked: list[tuple[Question, list[Span]]] = []
    for question in corpus.questions:
        spans = [
            Span(evidence.uri, 0, 1) if corpus.by_document else locate(evidence, texts.get)
            for evidence in question.evidence
        ]
        if spans and all(spans):
            asked.append((question, [span for span in spans if span]))
        elif spans:
            _log(
                f"{corpus.name}: the evidence of question {question.id} is not in the documents, so it is not measured"
            )
    results: dict[str, list[dict[str, float]]] = {}
    for name, rank in methods.items():
        started = time.perf_counter()
        results[name] = [
            measure(_ranked(corpus, rank, question.question), spans, by_document=corpus.by_document)
            for question, spans in asked
        ]
        _log(f"{corpus.name}: {name} in {time.perf_counter() - started:.0f} s")
    measures = list(next(iter(results.values()))[0])
    lines = [
        f"{len(asked)} questions with evidence.\n",
        f"| method | {' | '.join(measures)} | difference in recall@5 |",
        f"| --- |{' ---: |' * (len(measures) + 1)}",
    ]
    for name, found in results.items():
        means = (f"{statistics.mean(result[measure] for result in found):.3f}" for measure in measures)
        default = results["Product Mindset, MiniLM" if name.endswith("default, MiniLM") else "Product Mindset"]
        differences = [one["recall@5"] - other["recall@5"] for one, other in zip(found, default, strict=True)]
        low, high = interval(differences)
        written = f"{statistics.mean(differences):+.3f} ({low:+.3f} to {high:+.3f})" if any(differences) else ""
        lines.append(f"| {name} | {' | '.join(means)} | {written} |")
    return "\n".join([*lines, "", *_slices(asked, results)])


def _ranked(corpus: Corpus, rank: Method, question: str) -> list[Found]:
    """Return the best passages; where whole documents are wanted, the best passage of each."""
    if not corpus.by_document:
        return rank(question, _DEPTH)
    documents: dict[str, Found] = {}
    for passage in rank(question, 50):
        documents.setdefault(passage.places[0].uri, passage)
    return list(documents.values())[:_DEPTH]


def _slices(asked: list[tuple[Question, list[Span]]], results: dict[str, list[dict[str, float]]]) -> list[str]:
    slices = sorted({question.slice for question, _ in asked})
    if len(slices) < 2:
        return []
    lines = [f"| recall@5 | {' | '.join(slices)} |", f"| --- |{' ---: |' * len(slices)}"]
    for name, found in results.items():
        means = (
            statistics.mean(
                result["recall@5"] for (question, _), result in zip(asked, found, strict=True) if question.slice == each
            )
            for each in slices
        )
        lines.append(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return lines


def _answers(corpus: Corpus, product: Product) -> str:
    answers = [(question, *product.answer(question.question)) for question in corpus.questions]
    right = [
        bool(cited & {each.uri for each in question.evidence}) for question, _, cited in answers if question.evidence
    ]
    declined = [not supported for question, supported, _ in answers if not question.evidence]
    text = (
        f"Extractive answers: {statistics.mean(right):.2f} of the answerable questions cite a document of the evidence"
    )
    return (
        f"{text}, {statistics.mean(declined):.2f} of the {len(declined)} others are declined."
        if declined
        else f"{text}."
    )


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    main()
