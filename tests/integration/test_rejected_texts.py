"""Documents with a text that the embedding provider refuses are quarantined for that model, and the night goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mindset.application import Installation, open_installation
from mindset.catalog.quarantine import quarantined_documents
from mindset.catalog.versions import get_version
from mindset.config.settings import Settings
from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.pipeline.plan import plan_build, work_due
from mindset.providers.deadline import Deadline
from tests.corpus import Corpus, ask, document, run_night
from tests.faults.invariants import check_segments
from tests.integration.test_maintenance import row_count, run_maintenance
from tests.providers.faults import drip, status
from tests.providers.server import ProviderServer

NIM = {"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024}
TITAN = {"provider": "bedrock", "model": "amazon.titan-embed-text-v2:0", "dimension": 1024}
EMBEDDINGS = "/v1/embeddings"


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as provider:
        yield provider


@pytest.fixture
def remote(settings: Settings, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    changes = {"nim_url": provider.nim_url, "bedrock_url": provider.url}
    with open_installation(settings.model_copy(update=changes)) as opened:
        yield opened


def quarantined(installation: Installation, kb: str) -> dict[str, str]:
    with installation.catalog.reading() as connection:
        return dict(quarantined_documents(connection, kb))


def counts(installation: Installation, kb: str, number: int) -> tuple[int | None, int | None]:
    with installation.catalog.reading() as connection:
        version = get_version(connection, kb, number)
    assert version
    return version.documents, version.chunks


@pytest.mark.parametrize(("model", "code"), [(NIM, 400), (NIM, 413), (NIM, 422), (TITAN, 400)])
def test_document_with_a_refused_text_is_quarantined_and_the_others_are_released(
    remote: Installation, corpus: Corpus, provider: ProviderServer, model: dict[str, Any], code: int
) -> None:
    corpus.define(embedding=model)
    corpus.fill(4)
    corpus.write("bad.md", "# Castle\n\nThe drawbridge opens at noon.\n\n## Well\n\nThe well is deep.\n")
    provider.refused_word, provider.refused_status = "drawbridge", code
    night = run_night(remote, corpus.name)
    assert night.decision and night.decision.released
    reasons = quarantined(remote, corpus.name)
    assert list(reasons) == ["bad.md"]
    assert "drawbridge is refused" in reasons["bad.md"] or "ValidationException" in reasons["bad.md"]
    assert counts(remote, corpus.name, 1) == (4, 16)
    check_segments(remote, corpus.name)
    assert "bad.md" not in ask(remote, corpus.name, "When does the castle open?", limit=50)
    assert not plan_build(remote.catalog, remote.knowledge_base(corpus.name)).builds
    assert run_night(remote, corpus.name).decision is None, "the same text would be refused again"
    assert run_night(remote, corpus.name).ingested.quarantined == (("bad.md", reasons["bad.md"]),)


def test_several_refused_texts_of_one_batch_are_found(
    remote: Installation, corpus: Corpus, provider: ProviderServer
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(5)
    for name in ("first.md", "middle.md", "zebra.md"):
        corpus.write(name, f"The drawbridge of {name} opens at noon.")
    corpus.write("same.md", "The drawbridge of first.md opens at noon.")
    provider.refused_word = "drawbridge"
    assert run_night(remote, corpus.name).decision
    assert set(quarantined(remote, corpus.name)) == {"first.md", "middle.md", "zebra.md", "same.md"}
    assert counts(remote, corpus.name, 1) == (5, 20)


def test_new_revision_that_is_refused_leaves_the_next_version(
    remote: Installation, corpus: Corpus, provider: ProviderServer
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(4)
    run_night(remote, corpus.name)
    provider.refused_word = "drawbridge"
    corpus.write("doc1.md", "The drawbridge of the glacier 1 opens at noon.")
    assert run_night(remote, corpus.name).decision
    assert (counts(remote, corpus.name, 1), counts(remote, corpus.name, 2)) == ((4, 16), (3, 12))
    check_segments(remote, corpus.name)


def test_document_is_tried_again_when_it_changes(
    remote: Installation, corpus: Corpus, provider: ProviderServer
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(3)
    corpus.write("bad.md", "The drawbridge opens at noon.")
    provider.refused_word = "drawbridge"
    run_night(remote, corpus.name)
    corpus.write("bad.md", "The gate opens at noon.")
    night = run_night(remote, corpus.name)
    assert (night.ingested.quarantined, quarantined(remote, corpus.name)) == ((), {})
    assert "bad.md" in ask(remote, corpus.name, "When does the gate open?")


@pytest.mark.parametrize("change", [{"embedding": {"provider": "wordllama"}}, {"chunking": {"tokens": 60}}])
def test_document_is_tried_again_with_another_model_or_chunking(
    remote: Installation, corpus: Corpus, provider: ProviderServer, change: dict[str, Any]
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(3)
    corpus.write("bad.md", "The drawbridge opens at noon.")
    provider.refused_word = "drawbridge"
    run_night(remote, corpus.name)
    provider.refused_word = ""
    corpus.define(**change)
    assert run_night(remote, corpus.name).decision
    assert quarantined(remote, corpus.name) == {}
    assert "bad.md" in ask(remote, corpus.name, "When does the drawbridge open?")


@pytest.mark.parametrize(
    "code",
    [401, 403, 404, 400, 422],  # also a status for invalid input, if it is the response to every text
)
def test_wrong_configuration_quarantines_nothing(
    remote: Installation, corpus: Corpus, provider: ProviderServer, code: int
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(3)
    provider.fail(EMBEDDINGS, always=status(code))
    with pytest.raises(ProviderRejected):
        run_night(remote, corpus.name)
    assert quarantined(remote, corpus.name) == {}
    provider.heal()
    assert run_night(remote, corpus.name).decision
    assert counts(remote, corpus.name, 1) == (3, 12)


def test_outage_while_the_refused_text_is_searched_quarantines_nothing(
    remote: Installation, corpus: Corpus, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mindset.embedding.nim.Deadline", lambda _: Deadline(0.3))
    corpus.define(embedding=NIM)
    corpus.fill(3)
    corpus.write("bad.md", "The drawbridge opens at noon.")
    provider.refused_word = "drawbridge"
    # The batch is refused and another text is accepted; then the provider is down.
    provider.fail(EMBEDDINGS, drip(0), drip(0), always=status(503))
    with pytest.raises(ProviderUnavailable):
        run_night(remote, corpus.name)
    assert quarantined(remote, corpus.name) == {}


@pytest.mark.parametrize(("bad", "good"), [(1, 0), (3, 0), (3, 2)])
def test_too_many_refused_documents_stop_the_night(
    remote: Installation, corpus: Corpus, provider: ProviderServer, bad: int, good: int
) -> None:
    corpus.define(embedding=NIM)
    corpus.fill(good)
    for number in range(bad):
        corpus.write(f"bad{number}.md", f"The drawbridge {number} opens at noon.")
    provider.refused_word = "drawbridge"
    with pytest.raises(
        ProviderRejected, match=rf"rejects texts of {bad} of {bad + good} documents, among them bad0\.md"
    ):
        run_night(remote, corpus.name)
    assert quarantined(remote, corpus.name) == {}
    assert work_due(remote.catalog, remote.knowledge_base(corpus.name)).build


def test_removed_document_leaves_the_quarantine_and_the_catalog(
    remote: Installation, corpus: Corpus, provider: ProviderServer
) -> None:
    corpus.define(embedding=NIM, keep_versions=2)
    corpus.fill(3)
    corpus.write("bad.md", "The drawbridge opens at noon.")
    provider.refused_word = "drawbridge"
    run_night(remote, corpus.name)
    (corpus.folder / "bad.md").unlink()
    corpus.write("doc3.md", document(3))
    assert run_night(remote, corpus.name).ingested.quarantined == ()
    run_maintenance(remote, corpus.name)
    assert row_count(remote, "embedding_rejection") == 0
