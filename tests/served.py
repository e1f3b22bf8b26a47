"""Serve the API over real HTTP, in a thread of the test process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from mindset.config.settings import Settings
from tests.waiting import wait_until


@contextmanager
def api_at(settings: Settings) -> Iterator[str]:
    """Serve an API with these settings, and yield its URL, `http://127.0.0.1:PORT`."""
    with address_of(create_app(settings)) as address:
        yield address


@contextmanager
def address_of(app: FastAPI) -> Iterator[str]:
    """Serve an application, and yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), 60, "The API did not start")
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
