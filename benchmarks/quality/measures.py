"""Measures of a ranking of passages, and intervals of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mindset.evaluation.evidence import MIN_COVERAGE, Span
from mindset.evaluation.metrics import question_metrics

RESAMPLES = 10_000


@dataclass(frozen=True)
class Found:
    """A passage that a method returned: characters `start` to `end` of each of its places."""

    places: tuple[Span, ...]


def measure(found: Sequence[Found], evidence: Sequence[Span], *, by_document: bool = False) -> dict[str, float]:
    """Return recall@1/5/20, MRR@10, nDCG@10 and, for the first five, recall, precision and IoU of characters.

    A passage supports an evidence if it contains half of its characters, or, `by_document`, belongs to its document.
    The measures of characters are those of Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval", 2024, with
    characters for tokens. E are the characters of all evidence, F those of the first five passages, where a character that two
    passages contain counts twice, and C those that both have: recall is |C| / |E|, precision |C| / |F|, and IoU
    |C| / (|E| + |F| - |C|)."""
    ranks = [_rank(found, span, by_document=by_document) for span in evidence]
    # One passage may support several evidences; each counts at its rank, as in the evaluation of releases.
    gains = sorted(rank for rank in ranks if rank and rank <= 10)
    measures = {
        f"recall@{depth}": sum(bool(rank) and rank <= depth for rank in ranks) / len(ranks) for depth in (1, 5, 20)
    }
    measures["MRR"] = max((1 / rank for rank in gains), default=0.0)
    supported = {number: rank for number, rank in enumerate(ranks) if rank}
    measures["nDCG@10"] = question_metrics({"": (len(ranks), supported)})[""]["ndcg@10"]
    if not by_document:
        measures |= _characters(found[:5], evidence)
    return measures


def _rank(found: Sequence[Found], span: Span, *, by_document: bool) -> int:
    """Return the rank of the first passage that supports the evidence; 0 if none does."""
    needed = MIN_COVERAGE * (span.end - span.start)
    for rank, passage in enumerate(found, start=1):
        for place in passage.places:
            if place.uri == span.uri and (
                by_document or min(place.end, span.end) - max(place.start, span.start) >= needed
            ):
                return rank
    return 0


def _characters(found: Sequence[Found], evidence: Sequence[Span]) -> dict[str, float]:
    wanted = {(span.uri, at) for span in evidence for at in range(span.start, span.end)}
    # A passage with several places counts at the one that has evidence, if there is one.
    wanted_uris = {span.uri for span in evidence}
    spans = [
        next((place for place in passage.places if place.uri in wanted_uris), passage.places[0]) for passage in found
    ]
    covered = {(span.uri, at) for span in spans for at in range(span.start, span.end)} & wanted
    returned = sum(span.end - span.start for span in spans)
    return {
        "char recall@5": len(covered) / len(wanted),
        "char precision@5": len(covered) / max(returned, 1),
        "char IoU@5": len(covered) / max(len(wanted) + returned - len(covered), 1),
    }


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences, by the percentile bootstrap with a fixed seed."""
    values = np.array(differences)
    samples = np.random.default_rng(1).choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)
