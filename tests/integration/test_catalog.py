"""What the catalog asks of Postgres, and what it says where Postgres cannot."""

from __future__ import annotations

import psycopg
import pytest

from mindset.catalog.connection import scalar
from mindset.catalog.versions import building_version
from mindset.errors import ConfigurationError
from mindset.installation import Installation
from tests.corpus import Corpus, ask, run_night


def test_the_server_looks_after_a_build_locks_machine_every_half_minute(
    installation: Installation, corpus: Corpus
) -> None:
    with installation.catalog.build_lock(corpus.name) as lock:
        assert lock._connection
        assert lock._connection.info.get_parameters()["keepalives_idle"] == "30"
        settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        shown = [scalar(lock._connection, "SELECT current_setting(%s)", each) for each in settings]
        assert shown == ["30", "10", "3"]


def test_a_language_that_postgres_does_not_know_is_named_before_a_version_is_begun(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.fill(2)
    corpus.define(chunking={"language": "klingon"})
    named = rf"{corpus.name}: chunking\.language is 'klingon'.*arabic, .*english, .*simple"
    with pytest.raises(ConfigurationError, match=named):
        run_night(installation, corpus.name)
    with installation.catalog.reading() as connection:
        assert building_version(connection, corpus.name) is None


def test_a_question_in_a_language_that_postgres_does_not_know_names_it(
    installation: Installation, corpus: Corpus
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    corpus.define(chunking={"language": "klingon"})
    with pytest.raises(ConfigurationError, match=rf"{corpus.name}: chunking\.language is 'klingon'.*english"):
        ask(installation, corpus.name, "How many rooms has the glacier 1?")


def test_a_text_search_configuration_of_ones_own_is_used(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TEXT SEARCH CONFIGURATION house2 (COPY = english)")
    corpus.fill(2)
    corpus.define(chunking={"language": "house2"})
    assert run_night(installation, corpus.name).decision
    assert ask(installation, corpus.name, "How many rooms has the glacier 1?")[0] == "doc1.md"
