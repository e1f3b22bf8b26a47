"""Requirements of the catalog on Postgres, and the errors if Postgres fails them."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local_stack.addresses import Addresses
from mindset.application import Installation
from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import scalar
from mindset.catalog.versions import building_version
from mindset.errors import ConfigurationError, ServiceUnavailable
from tests.corpus import Corpus, ask, run_night


def test_connection_of_a_build_lock_sends_tcp_keepalives(installation: Installation, corpus: Corpus) -> None:
    with installation.catalog.build_lock(corpus.name) as lock:
        assert lock._connection
        assert lock._connection.info.get_parameters()["keepalives_idle"] == "30"
        settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        values = [scalar(lock._connection, "SELECT current_setting(%s)", name) for name in settings]
        assert values == ["30", "10", "3"]


def test_build_lock_is_free_immediately_after_a_build(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installation.catalog.build_lock(corpus.name) as lock:
        assert lock._connection
        monkeypatch.setattr(lock._connection, "close", lambda: None)  # the server has not noticed yet
    with installation.catalog.build_lock(corpus.name):
        pass


def test_unknown_language_is_rejected_before_a_version_is_created(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    corpus.define(chunking={"language": "klingon"})
    message = rf"{corpus.name}: chunking\.language is 'klingon'.*arabic, .*english, .*simple"
    with pytest.raises(ConfigurationError, match=message):
        run_night(installation, corpus.name)
    with installation.catalog.reading() as connection:
        assert building_version(connection, corpus.name) is None


def test_search_with_an_unknown_language_is_rejected(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    corpus.define(chunking={"language": "klingon"})
    with pytest.raises(ConfigurationError, match=rf"{corpus.name}: chunking\.language is 'klingon'.*english"):
        ask(installation, corpus.name, "How many rooms has the glacier 1?")


def test_custom_text_search_configuration_is_used(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TEXT SEARCH CONFIGURATION house2 (COPY = english)")
    corpus.fill(2)
    corpus.define(chunking={"language": "house2"})
    assert run_night(installation, corpus.name).decision
    assert ask(installation, corpus.name, "How many rooms has the glacier 1?")[0] == "doc1.md"


@pytest.fixture
def tiny_disk(stack: Addresses, tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB that is owned by the user of Postgres."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    tmp_path.chmod(0o755)
    assert stack.postgres_url
    with psycopg.connect(stack.postgres_url) as connection:
        data = Path(scalar(connection, "SHOW data_directory"))
    size = f"size=2m,uid={data.stat().st_uid},mode=700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_is_reported_without_loss_of_data(postgres_url: str, tiny_disk: Path) -> None:
    name = f"tiny_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{tiny_disk}'")
        connection.execute(f"CREATE TABLE filled TABLESPACE {name} AS SELECT 1 AS number")
    fill = "INSERT INTO filled SELECT generate_series(1, 200000)"
    with Catalog(postgres_url) as catalog:
        message = r"out of disk space: could not extend file.*Free some; the next night resumes"
        with pytest.raises(ServiceUnavailable, match=message), catalog.writing() as connection:
            connection.execute(fill)
        with catalog.reading() as connection:
            assert scalar(connection, "SELECT count(*) FROM filled") == 1
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE filled")
        connection.execute(f"DROP TABLESPACE {name}")
