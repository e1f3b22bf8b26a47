"""Evaluation of a candidate with its golden set, compared with the live version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from mindset.catalog.build import Build
from mindset.catalog.evaluations import EvaluationRecord, QuestionRecord, Slices, store_evaluation
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import live_version
from mindset.catalog.version_documents import document_text
from mindset.catalog.versions import get_version
from mindset.config.evaluation_options import Gate
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import RankingOptions
from mindset.errors import Overloaded, ProviderUnavailable, ServiceUnavailable, UnknownVersion
from mindset.evaluation.evidence import Span, locate
from mindset.evaluation.golden_set import GoldenSet, Question, load_golden_set
from mindset.evaluation.metrics import DEPTH, mean_by_slice, question_metrics, rank_of_evidence
from mindset.retrieval.search import Searcher
from mindset.retrieval.search_request import SearchResult

# Tolerance for rounding errors, so that a drop of exactly the margin is allowed.
_ROUNDING = 1e-9

_ATTEMPTS = 4
_TRANSIENT = (ServiceUnavailable, ProviderUnavailable, Overloaded)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation, and the evidence, as (question id, URI), that no document of the candidate contains."""

    record: EvaluationRecord
    questions: tuple[QuestionRecord, ...]
    stale_evidence: tuple[tuple[str, str], ...]


def evaluate(build: Build, kb: KnowledgeBase, searcher: Searcher, version: int) -> Evaluation:
    """Measure a version as `measure` does and store the result, by which the build may release the version.

    Raises BuildTakenOver and what `measure` raises."""
    evaluation = measure(build.catalog, kb, searcher, version)
    evaluation = replace(evaluation, record=replace(evaluation.record, build=build.token))
    with build.writing() as connection:
        evaluation_id = store_evaluation(connection, kb.name, evaluation.record, evaluation.questions)
    return replace(evaluation, record=replace(evaluation.record, id=evaluation_id))


def measure(
    catalog: Catalog, kb: KnowledgeBase, searcher: Searcher, version: int, ranking: RankingOptions | None = None
) -> Evaluation:
    """Measure a version with the golden set, compare it with the live one, and apply the gate. Nothing is stored.

    With `ranking`, the version is searched with these options instead of its own, and the live one, even if it is the same
    version, with its own.

    Raises ConfigurationError if the golden set is malformed, UnknownVersion, ServiceUnavailable, ProviderError."""
    golden_set = load_golden_set(kb)
    with catalog.reading() as connection:
        live = live_version(connection, kb.name)
        candidate = get_version(connection, kb.name, version)
    if candidate is None or candidate.state in ("building", "retired"):
        state = f"is {candidate.state}" if candidate else "does not exist"
        raise UnknownVersion(f"Version {version} of {kb.name} {state}. `mindset releases {kb.name}` lists the others.")
    baseline = live if live != version or ranking else None
    if golden_set is None:
        reasons = ("no golden set: nothing was measured",)
        return Evaluation(EvaluationRecord(0, version, baseline, "", 0, {}, {}, True, reasons), (), ())
    return _measure(catalog, kb, searcher, golden_set, version, baseline, ranking)


def _measure(
    catalog: Catalog,
    kb: KnowledgeBase,
    searcher: Searcher,
    golden_set: GoldenSet,
    version: int,
    baseline: int | None,
    ranking: RankingOptions | None,
) -> Evaluation:
    answerable = [question for question in golden_set.questions if question.evidence]
    candidate, spans = _version_metrics(catalog, kb, searcher, answerable, version, ranking)
    live = _version_metrics(catalog, kb, searcher, answerable, baseline)[0] if baseline else {}
    results = tuple(
        QuestionRecord(question.id, question.slice, candidate[question.id], live.get(question.id, {}))
        for question in answerable
    )
    metrics = mean_by_slice((result.slice, result.metrics) for result in results)
    baseline_metrics = mean_by_slice((result.slice, result.baseline_metrics) for result in results) if live else {}
    reasons = gate(kb.evaluation.gate, metrics, baseline_metrics)
    record = EvaluationRecord(
        0,
        version,
        baseline,
        golden_set.fingerprint,
        len(golden_set.questions),
        metrics,
        baseline_metrics,
        not reasons,
        tuple(reasons),
    )
    stale = tuple(
        (question.id, evidence.uri)
        for question in answerable
        for evidence, span in zip(question.evidence, spans[question.id], strict=True)
        if span is None
    )
    return Evaluation(record, results, stale)


def _version_metrics(
    catalog: Catalog,
    kb: KnowledgeBase,
    searcher: Searcher,
    questions: list[Question],
    version: int,
    ranking: RankingOptions | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, list[Span | None]]]:
    texts: dict[str, str | None] = {}

    def text_at(uri: str) -> str | None:
        if uri not in texts:
            texts[uri] = catalog.read_once(
                lambda connection: document_text(connection, kb.name, version, uri), kb.evaluation.deadline_s
            )
        return texts[uri]

    spans = {question.id: [locate(evidence, text_at) for evidence in question.evidence] for question in questions}
    ranks: dict[str, tuple[int, Mapping[int, int]]] = {}
    if questions:
        searcher.warm_up(kb, version)
    for question in questions:
        result = _search(kb, searcher, question.question, version, ranking)
        ranks[question.id] = (len(question.evidence), rank_of_evidence(result.passages, spans[question.id]))
    return question_metrics(ranks), spans


@retry(
    retry=retry_if_exception_type(_TRANSIENT),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.5, max=5),
    reraise=True,
)
def _search(
    kb: KnowledgeBase, searcher: Searcher, question: str, version: int, ranking: RankingOptions | None
) -> SearchResult:
    """Search with every ranking; a search that failed transiently is retried. Raises ServiceUnavailable if one is missing."""
    # Not joined: joined passages would contain more text than a search for five chunks returns.
    result = searcher.search(
        kb,
        question,
        kb.evaluation.principals,
        DEPTH,
        version,
        join=False,
        deadline_s=kb.evaluation.deadline_s,
        ranking=ranking,
    )
    if result.degraded:
        raise ServiceUnavailable(
            f"Version {version} was searched without {' and '.join(result.degraded)}, so its metrics would be wrong. "
            f"{' '.join(f'{step}: {reason}' for step, reason in result.failures.items())} Then evaluate again."
        )
    return result


def gate(rules: Gate, metrics: Slices, baseline: Slices) -> list[str]:
    """Return the reasons why the version must not be released; empty if it may be."""
    if metrics and not any(metrics["all"].values()):
        # Compared with a live version that finds nothing either, it would always pass.
        return ["no evidence of the golden set was found: correct it, or set evaluation.principals to readers of it"]
    reasons = []
    for metric, margin in rules.margins.items():
        if baseline and metrics["all"][metric] < baseline["all"][metric] - margin - _ROUNDING:
            reasons.append(
                f"{metric} fell from {baseline['all'][metric]:.3f} to {metrics['all'][metric]:.3f}, "
                f"by more than the {margin:.3f} allowed"
            )
    for metric, minimum in rules.minimum.items():
        if metrics["all"][metric] < minimum - _ROUNDING:
            reasons.append(f"{metric} is {metrics['all'][metric]:.3f}, less than the {minimum:.3f} required")
    return reasons
