"""A candidate against its golden set and against what is live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mindset.catalog.connection import Catalog
from mindset.catalog.evaluations import EvaluationRecord, QuestionRecord, Slices, store_evaluation
from mindset.catalog.passages import document_text
from mindset.catalog.releases import live_version
from mindset.catalog.versions import get_version
from mindset.errors import ServiceUnavailable, UnknownVersion
from mindset.evaluation.evidence import Span, locate
from mindset.evaluation.golden import GoldenSet, Question, load_golden_set
from mindset.evaluation.metrics import DEPTH, mean_by_slice, question_metrics, rank_of_evidence
from mindset.knowledge_base import Gate, KnowledgeBase
from mindset.retrieval.search import Searcher

# Means are sums of fractions: whether a loss is exactly the margin must not depend on their last bits.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Evaluation:
    """A stored evaluation, and the evidence that no document of the candidate holds: (question id, URI)."""

    record: EvaluationRecord
    questions: tuple[QuestionRecord, ...]
    stale_evidence: tuple[tuple[str, str], ...]


def evaluate(catalog: Catalog, kb: KnowledgeBase, searcher: Searcher, version: int) -> Evaluation:
    """Measure a version, compare it with the live one, decide by the gate, and store all that.

    Raises ConfigurationError for a malformed golden set, UnknownVersion, ServiceUnavailable, ProviderError."""
    golden = load_golden_set(kb)
    with catalog.reading() as connection:
        live = live_version(connection, kb.name)
        judged = get_version(connection, kb.name, version)
    if judged is None or judged.state in ("building", "retired"):
        state = f"is {judged.state}" if judged else "does not exist"
        raise UnknownVersion(f"Version {version} of {kb.name} {state}. `mindset releases {kb.name}` lists the others.")
    baseline = live if live != version else None
    if golden is None:
        found = Evaluation(
            EvaluationRecord(0, version, baseline, "", 0, {}, {}, True, ("no golden set: nothing was measured",)),
            (),
            (),
        )
    else:
        found = _measure(catalog, kb, searcher, golden, version, baseline)
    with catalog.writing() as connection:
        number = store_evaluation(connection, kb.name, found.record, found.questions)
    return replace(found, record=replace(found.record, id=number))


def _measure(
    catalog: Catalog, kb: KnowledgeBase, searcher: Searcher, golden: GoldenSet, version: int, baseline: int | None
) -> Evaluation:
    answerable = [each for each in golden.questions if each.evidence]
    candidate, spans = _version_metrics(catalog, kb, searcher, answerable, version)
    before = _version_metrics(catalog, kb, searcher, answerable, baseline)[0] if baseline else {}
    questions = tuple(
        QuestionRecord(each.id, each.slice, candidate[each.id], before.get(each.id, {})) for each in answerable
    )
    metrics = mean_by_slice((each.slice, each.metrics) for each in questions)
    baseline_metrics = mean_by_slice((each.slice, each.baseline_metrics) for each in questions) if before else {}
    reasons = gate(kb.evaluation.gate, metrics, baseline_metrics)
    record = EvaluationRecord(
        0,
        version,
        baseline,
        golden.fingerprint,
        len(golden.questions),
        metrics,
        baseline_metrics,
        not reasons,
        tuple(reasons),
    )
    stale = tuple(
        (each.id, evidence.uri)
        for each in answerable
        for evidence, span in zip(each.evidence, spans[each.id], strict=True)
        if span is None
    )
    return Evaluation(record, questions, stale)


def _version_metrics(
    catalog: Catalog, kb: KnowledgeBase, searcher: Searcher, questions: list[Question], version: int
) -> tuple[dict[str, dict[str, float]], dict[str, list[Span | None]]]:
    texts: dict[str, str | None] = {}

    def text_at(uri: str) -> str | None:
        if uri not in texts:
            with catalog.glancing() as connection:
                texts[uri] = document_text(connection, kb.name, version, uri)
        return texts[uri]

    spans = {each.id: [locate(evidence, text_at) for evidence in each.evidence] for each in questions}
    ranks: dict[str, tuple[int, Mapping[int, int]]] = {}
    if questions:
        searcher.warm_up(kb, version)
    for each in questions:
        # Chunk by chunk: joined passages would hold more text than a search for five returns.
        found = searcher.search(kb, each.question, kb.evaluation.principals, DEPTH, version, join=False)
        if found.degraded:
            raise ServiceUnavailable(
                f"Version {version} was searched without {' and '.join(found.degraded)}: measured so, it would be judged "
                f"wrongly. {' '.join(f'{step}: {why}' for step, why in found.failures.items())} Then evaluate again."
            )
        ranks[each.id] = (len(each.evidence), rank_of_evidence(found.passages, spans[each.id]))
    return question_metrics(ranks), spans


def gate(rules: Gate, metrics: Slices, baseline: Slices) -> list[str]:
    """Why the version must not be released; empty when it may."""
    if metrics and not any(metrics["all"].values()):
        # Nothing is no worse than nothing: compared with a live version that finds none either, it would pass for ever.
        return ["no evidence of the golden set was found: correct it, or name who may read it in evaluation.principals"]
    reasons = []
    for metric, margin in rules.margins.items():
        if baseline and metrics["all"][metric] < baseline["all"][metric] - margin - _ROUNDING:
            reasons.append(
                f"{metric} fell from {baseline['all'][metric]:.3f} to {metrics['all'][metric]:.3f}, "
                f"by more than the {margin:.3f} allowed"
            )
    for metric, least in rules.minimum.items():
        if metrics["all"][metric] < least - _ROUNDING:
            reasons.append(f"{metric} is {metrics['all'][metric]:.3f}, less than the {least:.3f} required")
    return reasons
