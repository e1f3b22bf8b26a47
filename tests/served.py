"""The API over real HTTP, for tests whose clients are not ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from mindset.settings import Settings


@contextmanager
def api_at(settings: Settings) -> Iterator[str]:
    """The address of an API with these settings, `http://127.0.0.1:PORT`."""
    with address_of(create_app(settings)) as address:
        yield address


@contextmanager
def address_of(app: FastAPI) -> Iterator[str]:
    """The address of an application that is served while the block lasts."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
