"""Traces, metrics, logs, the answer log and feature flags."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from local_stack import ports
from mindset.answering.answer_log import AnswerLog
from mindset.application import Installation
from mindset.catalog.answer_log import (
    LoggedAnswer,
    create_partitions,
    day_of,
    drop_old_partitions,
    log_answers,
    new_answer_id,
)
from mindset.catalog.transactions import rows, scalar
from mindset.config.settings import Flags, Settings
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, status
from tests.providers.fixtures import provider
from tests.providers.otlp import Collector
from tests.served import api_at
from tests.waiting import wait_until

__all__ = ["provider"]

NIM = "meta/llama-3.1-8b-instruct"
QUESTION = "How many rooms has the bakery 3?"


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.define(generation={"provider": "nim", "model": NIM})
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


# Traces. The API runs in a separate process because OpenTelemetry can be set up only once per process.

_SERVE = "import sys; from api.__main__ import main; sys.exit(main())"
PARENT = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as opened:
        yield opened


class ApiProcess:
    """An API in a separate process. Its log lines are available after `stop`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url
        self.lines: list[dict[str, Any]] = []

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.stdout
        self.lines = [json.loads(line) for line in self._process.stdout]  # every line is JSON
        self._process.wait(20)

    def line(self, route: str) -> dict[str, Any]:
        (line,) = [entry for entry in self.lines if entry.get("route") == route]
        return line


@contextmanager
def api_process(settings: Settings, provider: ProviderServer, **variables: str) -> Iterator[ApiProcess]:
    assert settings.postgres_url
    assert settings.redis_url
    port = ports.choose(["api"], fixed={}, remembered={})["api"]
    environment = os.environ | {
        "MINDSET_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "MINDSET_REDIS_URL": settings.redis_url.get_secret_value(),
        "MINDSET_CHROMA_URL": settings.chroma_url or "",
        "MINDSET_KNOWLEDGE_BASES": str(settings.knowledge_bases),
        "MINDSET_NIM_URL": provider.nim_url,
        "MINDSET_API_PORT": str(port),
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE], env=environment | variables, stdout=subprocess.PIPE, text=True
    ) as process:
        api = ApiProcess(process, f"http://127.0.0.1:{port}")
        try:
            wait_until(api.is_up, 60, "The API did not start")
            yield api
        finally:
            process.kill()


def test_trace_covers_the_request_sql_chroma_and_the_model(
    settings: Settings, released: Corpus, provider: ProviderServer, collector: Collector
) -> None:
    with api_process(settings, provider, MINDSET_OTLP_ENDPOINT=collector.url) as api:
        body = {"knowledge_base": released.name, "question": QUESTION, "stream": True}
        answer = api.post("/v1/answers", body, traceparent=f"00-{PARENT}-b7ad6b7169203331-01")
        assert "answer.completed" in answer.text
        api.stop()
    tree = collector.tree()
    paths = collector.paths()
    assert {span.trace_id.hex() for span in collector.spans if span.name.startswith("POST /v1")} == {PARENT}
    for path in (
        ("POST /v1/answers", "retrieval.search", "retrieval.version_index", "SELECT"),
        ("POST /v1/answers", "retrieval.search", "retrieval.lexical"),
        ("POST /v1/answers", "retrieval.search", "retrieval.visible", "WITH"),
        # The first question opens the collection. Later questions send this query before they wait for anything.
        ("POST /v1/answers", "retrieval.search", "retrieval.dense", "chroma.query"),
        ("POST /v1/answers", "generation.nim", "POST"),
    ):
        assert path in paths, tree
    roots = {path[0] for path in paths}
    assert all(re.match("GET|POST", root) for root in roots), f"traces without a request: {roots}"

    def span(name: str) -> Any:
        return next(recorded for recorded in collector.spans if recorded.name == name)

    request_span, model_span = span("POST /v1/answers"), span("generation.nim")
    assert request_span.end_time_unix_nano >= model_span.end_time_unix_nano
    attributes = {item.key: item.value.string_value or item.value.int_value for item in model_span.attributes}
    assert attributes["gen_ai.request.model"] == NIM
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert QUESTION not in str(collector.spans)
    line = api.line("/v1/answers")
    assert (line["trace"], line["span"]) == (PARENT, request_span.span_id.hex())
    assert (line["knowledge_base"], line["caller"]) == (released.name, "anyone")
    assert line["release"] > 0
    assert QUESTION not in str(api.lines)


def test_sample_rate_of_zero_traces_only_requests_with_a_sampled_parent(
    settings: Settings, released: Corpus, provider: ProviderServer, collector: Collector
) -> None:
    with api_process(settings, provider, MINDSET_OTLP_ENDPOINT=collector.url, MINDSET_TRACE_SAMPLE_RATE="0") as api:
        body = {"knowledge_base": released.name, "question": QUESTION}
        assert api.post("/v1/search", body).is_success
        assert api.post("/v1/answers", body, traceparent=f"00-{PARENT}-b7ad6b7169203331-01").is_success
        api.stop()
    assert {span.trace_id.hex() for span in collector.spans} == {PARENT}
    assert "trace" not in api.line("/v1/search")


def test_unreachable_collector_does_not_delay_requests_and_questions_are_logged_if_enabled(
    settings: Settings, released: Corpus, provider: ProviderServer
) -> None:
    variables = {"MINDSET_OTLP_ENDPOINT": "http://127.0.0.1:1", "MINDSET_LOG_QUESTIONS": "true"}
    with api_process(settings, provider, **variables) as api:
        body = {"knowledge_base": released.name, "question": QUESTION}
        assert api.post("/v1/answers", body).is_success
        assert httpx.post(f"{api.url}/v1/search", json=body, timeout=5).is_success  # an export times out after 10 s
        api.stop()
    assert api.line("/v1/answers")["question"] == QUESTION


def test_question_is_a_span_attribute_if_enabled(
    settings: Settings, released: Corpus, provider: ProviderServer, collector: Collector
) -> None:
    variables = {"MINDSET_OTLP_ENDPOINT": collector.url, "MINDSET_LOG_QUESTIONS": "true"}
    with api_process(settings, provider, **variables) as api:
        api.post("/v1/answers", {"knowledge_base": released.name, "question": QUESTION})
        api.stop()
    spans_with_question = {span.name for span in collector.spans if QUESTION in str(span)}
    assert spans_with_question == {"POST /v1/answers"}


def test_tracing_is_not_imported_without_a_collector() -> None:
    script = (
        "import sys; from api.app import create_app; from mindset.config.settings import Settings; "
        "create_app(Settings(postgres_url='postgresql://127.0.0.1:1/none')); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.instrumentation', 'opentelemetry.exporter'))])"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert completed.stdout.strip() == "[]"


# Metrics


def metrics_of(url: str) -> dict[str, Any]:
    text = httpx.get(f"{url}/metrics").text
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_report_tokens_costs_cache_hits_circuit_breakers_and_degradation(
    settings: Settings, released: Corpus, provider: ProviderServer
) -> None:
    configured = settings.model_copy(update={"nim_url": provider.nim_url, "prices": {f"nim:{NIM}": (1e6, 2e6)}})
    body = {"knowledge_base": released.name, "question": QUESTION}
    with api_at(configured) as url:
        answer = httpx.post(f"{url}/v1/answers", json=body, timeout=30).json()
        assert httpx.post(f"{url}/v1/answers", json=body, timeout=30).json()["cached"]
        provider.fail("/chat/completions", always=status(400))
        httpx.post(f"{url}/v1/answers", json=body | {"question": "Where is the glacier 1?"}, timeout=30)
        metrics = metrics_of(url)

    def value(name: str) -> float:
        return float(sum(number for key, number in metrics.items() if re.fullmatch(name, key)))

    assert answer["generator"] == f"nim:{NIM}"
    assert value(r"mindset_cache_total.*'answer'.*'hit'.*") == 1
    tokens_in, tokens_out = (value(rf"mindset_tokens_total.*'{direction}'.*nim.*") for direction in ("input", "output"))
    assert min(tokens_in, tokens_out) > 0
    assert value(r"mindset_cost_usd_total.*") == tokens_in + 2 * tokens_out
    assert value(r"mindset_degraded_total.*'generation'.*") == 1
    assert value(r"mindset_first_token_seconds_count.*") == 2  # not for the cached answer
    assert value(r"mindset_generation_seconds_count.*nim.*") == 1
    assert value(r"mindset_answer_seconds_count.*'true'.*") == 1
    assert value(r"mindset_circuit_breaker_state.*") == 0
    assert value(r"mindset_answers_in_progress.*") == 0
    assert value(r"mindset_searched_release.*") > 0
    assert value(r"mindset_answer_log_dropped_total.*") == 0


# The answer log


def logged(id_: str, **changed: Any) -> LoggedAnswer:
    fields: dict[str, Any] = {
        "id": id_, "kb": "docs", "version": 1, "release_id": 1, "request_id": "r", "caller": "c", "generator": "g",
        "prompt_fingerprint": None,
        "chunk_ids": ["a"], "supported": True, "degraded": [], "finish_reason": "stop", "input_tokens": 1, "output_tokens": 2,
        "cached": False, "duration_ms": 3,
    }  # fmt: skip
    return LoggedAnswer(**(fields | changed))


def count(installation: Installation) -> int:
    with installation.catalog.reading() as connection:
        return int(scalar(connection, "SELECT count(*) FROM answer_log"))


def test_all_answers_are_written_when_the_log_is_closed(installation: Installation) -> None:
    log = AnswerLog(installation.catalog)
    for _ in range(1_200):
        log.add(logged(new_answer_id()))
    log.close()
    assert count(installation) == 1_200
    assert log.dropped == 0


def test_answers_are_kept_while_the_log_table_is_unavailable(installation: Installation) -> None:
    with installation.catalog.writing() as connection:
        connection.execute("ALTER TABLE answer_log RENAME TO answer_log_renamed")
    log = AnswerLog(installation.catalog)
    with capture_logs() as lines:
        for _ in range(3):
            log.add(logged(new_answer_id()))
        wait_until(lambda: lines, message="The log did not try to write")
    with installation.catalog.writing() as connection:
        connection.execute("ALTER TABLE answer_log_renamed RENAME TO answer_log")
    wait_until(lambda: count(installation) == 3, message="The answers were not written")
    log.close()
    assert log.dropped == 0


def test_invalid_answer_does_not_prevent_logging_of_others(installation: Installation) -> None:
    log = AnswerLog(installation.catalog)
    for number in range(20):
        log.add(logged(new_answer_id(), version=2**40 if number == 7 else 1))
    log.close()
    assert (count(installation), log.dropped) == (19, 1)


def test_answer_is_logged_once_under_the_time_of_its_id(installation: Installation) -> None:
    id_ = f"{946_684_800_000:012x}{new_answer_id()[12:]}"
    with installation.catalog.writing() as connection:
        log_answers(connection, [logged(id_)])
        log_answers(connection, [logged(id_)])  # retried, as after a commit whose confirmation was lost
        ((day, year),) = rows(connection, "SELECT day::text, extract(year FROM asked_at) FROM answer_log")
    assert (day, year) == ("2000-01-01", 2000)


def waiting_for_a_lock(installation: Installation) -> bool:
    with installation.catalog.reading() as connection:
        return bool(
            scalar(
                connection,
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                "WHERE d.datname = current_database() AND NOT granted",
            )
        )


def test_partition_is_created_while_answers_are_inserted(installation: Installation) -> None:
    def create() -> None:
        with installation.catalog.writing() as connection:
            create_partitions(connection)

    with installation.catalog.writing() as inserting:
        log_answers(inserting, [logged(new_answer_id())])
        creating = threading.Thread(target=create)
        creating.start()
        wait_until(lambda: waiting_for_a_lock(installation), message="The partition did not wait for the insert")
        assert creating.is_alive()
    creating.join(10)
    with installation.catalog.reading() as connection:
        assert scalar(connection, "SELECT count(*) FROM answer_log_p_default") == 0
    assert count(installation) == 1


def test_only_a_sample_of_the_answers_is_logged(installation: Installation) -> None:
    log = AnswerLog(installation.catalog, sample_rate=0.2)
    for _ in range(1_000):
        log.add(logged(new_answer_id()))
    log.close()
    assert 120 < count(installation) < 280


def test_answers_move_from_the_default_partition_and_old_partitions_are_dropped(installation: Installation) -> None:
    with installation.catalog.writing() as connection:
        log_answers(connection, [logged(new_answer_id())])
        assert scalar(connection, "SELECT count(*) FROM answer_log_p_default") == 1
        today = create_partitions(connection)
        assert create_partitions(connection) == today
    with installation.catalog.writing() as connection:
        assert scalar(connection, "SELECT count(*) FROM answer_log_p_default") == 0
        assert scalar(connection, f"SELECT count(*) FROM answer_log_p_{today:%Y%m%d}") == 1
        connection.execute(
            "INSERT INTO feedback (kb, answer_id, rating, created_at) VALUES ('docs', 'x', 'good', '2020-01-01')"
        )
        assert drop_old_partitions(connection, today) == 0
        assert rows(connection, "SELECT * FROM feedback") == []
        assert drop_old_partitions(connection, today + timedelta(days=1)) == 1
    assert count(installation) == 0


def test_day_of_an_answer_is_derived_from_its_id(installation: Installation) -> None:
    id_ = new_answer_id()
    with installation.catalog.writing() as connection:
        log_answers(connection, [logged(id_)])
        assert scalar(connection, "SELECT day FROM answer_log WHERE id = %s", id_) == day_of(id_)
    assert [day_of(invalid_id) for invalid_id in ("", "x" * 32, "f" * 32, "0")] == [None] * 4


@pytest.mark.parametrize("log_questions", [True, False])
def test_questions_are_logged_only_if_enabled(
    settings: Settings, installation: Installation, released: Corpus, provider: ProviderServer, log_questions: bool
) -> None:
    configured = settings.model_copy(update={"nim_url": provider.nim_url, "log_questions": log_questions})
    with api_at(configured) as url:
        httpx.post(f"{url}/v1/answers", json={"knowledge_base": released.name, "question": QUESTION}, timeout=30)
    with installation.catalog.reading() as connection:
        (row,) = rows(
            connection,
            "SELECT question, generator, input_tokens > 0, prompt_fingerprint IS NOT NULL, release_id FROM answer_log",
        )
    assert row[:4] == (QUESTION if log_questions else None, f"nim:{NIM}", True, True)
    assert row[4] is not None


# Flags


def test_provider_route_flag_overrides_the_configured_generator(
    settings: Settings, released: Corpus, provider: ProviderServer
) -> None:
    configured = settings.model_copy(update={"nim_url": provider.nim_url, "flags": Flags(provider_route="extractive")})
    body = {"knowledge_base": released.name, "question": QUESTION}
    with api_at(configured) as url:
        assert httpx.post(f"{url}/v1/answers", json=body, timeout=30).json()["generator"] == "extractive:extractive"
    released.define(generation={"provider": "nim", "model": NIM, "fallback": []})
    with api_at(configured) as url:  # even if no fallback is configured
        assert httpx.post(f"{url}/v1/answers", json=body, timeout=30).json()["generator"] == "extractive:extractive"
    assert {request.method for request in provider.requests} <= {"GET"}  # the list of models
    with api_at(configured.model_copy(update={"flags": Flags()})) as url:
        assert httpx.post(f"{url}/v1/answers", json=body, timeout=30).json()["generator"] == f"nim:{NIM}"
