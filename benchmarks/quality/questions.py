"""Documents with questions and their evidence, in three formats."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mindset.evaluation.golden_set import Evidence, Question, parse_golden_set


@dataclass(frozen=True)
class Corpus:
    """A folder of documents, and questions about them. Questions without evidence are not answered by the documents."""

    name: str
    documents: Path
    questions: tuple[Question, ...]
    by_document: bool = False
    """Whether the evidence is a whole document, as in BEIR, instead of a quotation."""


def golden(documents: Path, questions: Path) -> Corpus:
    """Read a golden set in our format. Raises ConfigurationError."""
    return Corpus(documents.name, documents, parse_golden_set(questions).questions)


def chunking_benchmark(folder: Path) -> Corpus:
    """Read corpora and questions in the format of Chroma's chunking evaluation (`questions.csv`, `corpora/*.md`)."""
    documents = folder / "corpora" if (folder / "corpora").is_dir() else folder
    names = {file.stem for file in documents.glob("*.md")}
    questions = []
    with (folder / "questions.csv").open(encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["corpus_id"] in names:
                uri = f"{row['corpus_id']}.md"
                evidence = tuple(Evidence(uri=uri, quote=part["content"]) for part in json.loads(row["references"]))
                questions.append(
                    Question(id=f"q{number}", question=row["question"], evidence=evidence, slice=row["corpus_id"])
                )
    return Corpus(f"chunking ({folder.name})", documents, tuple(questions))


def beir(folder: Path, into: Path) -> Corpus:
    """Read a BEIR folder (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`); its documents are written to a new folder."""
    documents = into / folder.name
    shutil.rmtree(documents, ignore_errors=True)
    documents.mkdir(parents=True)
    for entry in _lines(folder / "corpus.jsonl"):
        (documents / f"{entry['_id']}.md").write_text(
            f"# {entry.get('title') or entry['_id']}\n\n{entry['text']}\n", encoding="utf-8"
        )
    relevant: dict[str, list[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) > 0:
            relevant.setdefault(query, []).append(document)
    questions = tuple(
        Question(
            id=entry["_id"],
            question=entry["text"],
            evidence=tuple(Evidence(uri=f"{document}.md", quote="whole") for document in relevant[entry["_id"]]),
        )
        for entry in _lines(folder / "queries.jsonl")
        if entry["_id"] in relevant
    )
    return Corpus(f"BEIR ({folder.name})", documents, questions, by_document=True)


def _lines(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())
