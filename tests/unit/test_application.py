"""Tests of the composition root."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mindset import application
from mindset.application import Installation
from mindset.catalog.pool import Catalog
from mindset.config.settings import Settings


@pytest.mark.parametrize(
    "part", ["searcher", "generators", "guardrails", "answering", "conversations", "authentication"]
)
def test_racing_requests_open_a_part_once(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    settings = Settings(_env_file=None, chroma_url="http://127.0.0.1:1")
    installation = Installation(settings, Catalog("postgresql://127.0.0.1:1/none"))
    opened = []
    for name in (
        "Searcher", "GeneratorRegistry", "GuardrailRegistry", "Answering", "Conversations", "Authentication", "ChromaIndex",
    ):  # fmt: skip
        real = getattr(application, name)

        def slow(*args: object, real: type = real, **options: object) -> object:
            opened.append(real)
            time.sleep(0.01)  # lets the other threads come as far as this one
            return real(*args, **options)

        monkeypatch.setattr(application, name, slow)
    barrier = threading.Barrier(8)

    def use() -> object:
        barrier.wait()
        return getattr(installation, part)

    with ThreadPoolExecutor(8) as threads:
        parts = {id(future.result()) for future in [threads.submit(use) for _ in range(8)]}
    assert len(parts) == 1
    assert len(opened) == len(set(opened)), "opened twice"
    installation.close()
