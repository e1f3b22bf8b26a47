"""The report of a nightly run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from flows.report import NightReport, _page
from mindset.application import Installation
from mindset.catalog.releases import live_version
from mindset.config.settings import Settings
from tests.corpus import Corpus


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.mark.slow
def test_missing_quality_deployment_is_reported_and_does_not_fail_the_night(
    prefect: None,
    settings: Settings,
    installation: Installation,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.nightly import nightly
    from flows.parameters import NightlyParameters
    from flows.quality import MIN_DOCUMENTS

    assert settings.postgres_url
    monkeypatch.setenv("MINDSET_POSTGRES_URL", settings.postgres_url.get_secret_value())
    monkeypatch.setenv("MINDSET_CHROMA_URL", settings.chroma_url or "")
    monkeypatch.setenv("MINDSET_KNOWLEDGE_BASES", str(settings.knowledge_bases))
    monkeypatch.setenv("MINDSET_DIRECTORY", str(settings.directory))
    corpus.fill(MIN_DOCUMENTS)
    nightly(NightlyParameters(kb=corpus.name))
    with installation.catalog.reading() as connection:
        assert live_version(connection, corpus.name) == 1
    page = str(getattr(Artifact.get(f"night-{corpus.name}"), "data", None))
    assert "version 1 is live" in page
    assert "## Quality of the new and changed documents\n\n**Not checked**" in page
    assert "quality/quality" in page  # a deployment that this Prefect does not have


def test_report_of_a_night_that_stopped_while_ingesting_mentions_changed_rights() -> None:
    # Rights of documents in the batches that were stored before the stop take effect immediately.
    summary = NightReport("docs", failed=True).summary
    assert (
        summary == "docs: the night stopped while ingesting. The live version is unchanged; rights read so far apply."
    )


def test_report_says_what_parsers_could_reach() -> None:
    ingested = {"listed": 5, "added": 0, "changed": 0, "quarantined": 0, "unconfined": ["the network", "files"]}
    assert "could reach the network and files" in _page(NightReport("docs", ingested=ingested), None)
    assert "Not confined" not in _page(NightReport("docs", ingested=ingested | {"unconfined": []}), None)


def test_report_of_a_cancelled_night_does_not_say_that_nothing_changed() -> None:
    ingested = {"listed": 5, "added": 0, "changed": 0, "quarantined": 0}
    assert NightReport("docs", ingested=ingested).summary.startswith("docs: the night stopped")
    assert "nothing changed" in NightReport("docs", ingested=ingested, failed=False).summary
