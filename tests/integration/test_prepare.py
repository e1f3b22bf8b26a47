"""Preparation of a local stack: migrations of Postgres and deployments of Prefect."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.addresses import Addresses
from local_stack.supervision import local_stack


@pytest.fixture
def external_prefect() -> Iterator[tuple[str, list[str]]]:
    """URL of an external Prefect server, and the requests that it received."""
    requests: list[str] = []

    class Prefect(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            requests.append(str(self.rfile.readline()))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Prefect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api", requests
        server.shutdown()


def test_external_prefect_is_not_contacted_and_external_postgres_is_migrated(
    tmp_path: Path, postgres_url: str, external_prefect: tuple[str, list[str]]
) -> None:
    url, requests = external_prefect
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    external = Addresses(postgres_url=postgres_url, prefect_api_url=url)
    with local_stack(
        tmp_path, services=["valkey"], external=external, project=PROJECT, prepare=command(external)
    ) as addresses:
        assert addresses.prefect_api_url == url
    assert requests == []
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regclass('release') IS NOT NULL").fetchone() == (True,)


def test_only_the_prefect_of_the_stack_gets_deployments() -> None:
    assert (
        command()
        == command(Addresses(postgres_url="postgresql://elsewhere"))
        != command(Addresses(prefect_api_url="http://elsewhere"))
    )


def test_postgres_whose_url_is_read_from_a_file_is_migrated(tmp_path: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    (tmp_path / "url").write_text(postgres_url)
    environment = {**os.environ, "MINDSET_POSTGRES_URL": f"file:{tmp_path / 'url'}", "MINDSET_DIRECTORY": str(tmp_path)}
    subprocess.run(
        command(Addresses(prefect_api_url="http://elsewhere")), env=environment, cwd=PROJECT, check=True, timeout=60
    )
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regclass('release') IS NOT NULL").fetchone() == (True,)
