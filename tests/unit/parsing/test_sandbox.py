"""Tests of parsing in child processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from mindset.errors import DocumentRejected
from mindset.parsing.sandbox import ParserPool
from tests.unit.pdf import pdf
from tests.waiting import wait_until

VALID = pdf("The harbour opened in 1887.")


@pytest.fixture
def parsers() -> Iterator[ParserPool]:
    with ParserPool(children=1, timeout_s=30) as pool:
        yield pool


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "mindset.parsing.sandbox" in child.cmdline()
    ]


def _only_child() -> int:
    (child,) = _children()
    return child.pid


def test_child_returns_the_complete_document(parsers: ParserPool) -> None:
    sentences = b"A sentence that is long enough to be the content of a page. " * 5
    page = b"---\nacl: [b, a]\nyear: 7\n---\n<html><body><article><p>" + sentences + b"</p></article></body></html>"
    parsed = parsers.parse("a.html", page)
    assert parsed.acl == ("a", "b")
    assert parsed.metadata == {"year": 7}
    assert parsers.parse("a.pdf", VALID).text == "The harbour opened in 1887."


def test_rejection_keeps_its_reason_and_the_child_lives_on(parsers: ParserPool) -> None:
    parsers.parse("a.pdf", VALID)
    child = _only_child()
    with pytest.raises(DocumentRejected, match="not a readable PDF"):
        parsers.parse("a.pdf", b"%PDF-broken")
    assert parsers.parse("a.pdf", VALID).text
    assert _only_child() == child


def test_formats_without_native_code_are_parsed_without_a_child(parsers: ParserPool) -> None:
    assert parsers.parse("a.md", b"# Text").title == "Text"
    assert _children() == []


def test_hanging_child_costs_one_document() -> None:
    with ParserPool(children=1, timeout_s=30) as parsers:
        parsers.parse("a.pdf", VALID)
        parsers._timeout_s = 0.5
        os.kill(_only_child(), signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DocumentRejected, match=r"took more than 0\.5 s"):
            parsers.parse("a.pdf", VALID)
        assert time.monotonic() - started < 20, "the original timeout is 30 s"
        parsers._timeout_s = 30
        assert parsers.parse("a.pdf", VALID).text


def test_killed_child_costs_one_document(parsers: ParserPool) -> None:
    parsers.parse("a.pdf", VALID)
    child = _only_child()
    os.kill(child, signal.SIGSTOP)
    # More than a pipe buffers, so that the parent blocks on the stopped child.
    padded = VALID + b"%" * 1_000_000
    with ThreadPoolExecutor(1) as thread:
        parsing = thread.submit(parsers.parse, "a.pdf", padded)
        wait_until(lambda: any(isinstance(thread, threading.Timer) for thread in threading.enumerate()))
        os.kill(child, signal.SIGKILL)
        with pytest.raises(DocumentRejected, match="The parser crashed"):
            parsing.result(timeout=10)
    assert parsers.parse("a.pdf", VALID).text


def test_child_that_died_between_documents_is_replaced(parsers: ParserPool) -> None:
    parsers.parse("a.pdf", VALID)
    child = psutil.Process(_only_child())
    child.kill()
    wait_until(lambda: child.status() == psutil.STATUS_ZOMBIE)
    assert parsers.parse("a.pdf", VALID).text


def test_no_child_outlives_the_pool() -> None:
    with ParserPool(children=2, timeout_s=30) as parsers, ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(lambda number: parsers.parse(f"{number}.pdf", VALID).text, range(8)))
        assert len(set(texts)) == 1
        assert 1 <= len(_children()) <= 2
    assert _children() == []
