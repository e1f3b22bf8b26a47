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
from mindset.errors import ServiceUnavailable
from tests.corpus import Corpus


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
