"""Tests of parsing in child processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from mindset.errors import DocumentRejected
from mindset.parsing import registry
from mindset.parsing.confinement import FILES, NETWORK
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


# A child whose PDF parser runs the document as Python code, as one would that has been taken over.
_HOSTILE = """
from mindset.parsing import registry, sandbox
from mindset.parsing.document import ParsedDocument

def run(uri, raw):
    names = {}
    exec(raw, names)
    return ParsedDocument(str(names.get("found")), "title", "text/plain")

registry.FORMATS[".pdf"] = run
sandbox.serve()
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's means of confinement exist on Linux only")


@pytest.fixture
def hostile() -> Iterator[ParserPool]:
    with ParserPool(children=1, timeout_s=30, program=(sys.executable, "-c", _HOSTILE)) as pool:
        yield pool


def found(pool: ParserPool, code: str) -> Any:
    return json.loads(pool.parse("a.pdf", f"import json\n{code}\nfound = json.dumps(found)".encode()).text)


def attempt(pool: ParserPool, code: str) -> str:
    """Return the error number of code that must fail, or what it returned."""
    wrapped = (
        f"try:\n    found = {code}\nexcept OSError as error:\n    found = f'errno {{error.errno}}'\nfound = str(found)"
    )
    return str(found(pool, f"import os, socket, subprocess, ctypes\n{wrapped}"))


def test_child_has_no_secrets_in_its_environment(hostile: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MINDSET_POSTGRES_URL", "AWS_SECRET_ACCESS_KEY", "PREFECT_API_AUTH_STRING", "HOME", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("MINDSET_STACK", "/stack")
    environment = found(hostile, "import os; found = dict(os.environ)")
    assert "secret" not in environment.values()
    assert environment["MINDSET_STACK"] == "/stack"
    assert set(environment) <= {
        "PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "MINDSET_STACK"
    }  # fmt: skip


@linux_only
@pytest.mark.parametrize(
    "code",
    [
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.create_connection(('127.0.0.1', 1))",
        "socket.socketpair()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_child_reaches_no_network_and_starts_no_program(hostile: ParserPool, code: str) -> None:
    assert attempt(hostile, code) in ("errno 1", "errno 13")
    assert hostile.unconfined == ()


@linux_only
def test_child_reads_and_writes_no_files(hostile: ParserPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    project = Path(registry.__file__).parents[2]
    denied = [
        f"open({str(secret)!r}).read()",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"open({str(project / 'pyproject.toml')!r}).read()",
        f"open({str(Path(registry.__file__).with_name('new.py'))!r}, 'w')",
        f"os.unlink({str(secret)!r})",
        f"os.rename({str(secret)!r}, {str(tmp_path / 'moved')!r})",
        f"os.symlink({str(secret)!r}, {str(tmp_path / 'link')!r})",
        f"os.mkdir({str(tmp_path / 'folder')!r})",
        f"os.listdir({str(tmp_path)!r})",
        "open('/etc/passwd').read()",
        f"open('/proc/{os.getpid()}/environ').read()",
        f"open('/proc/{os.getpid()}/mem', 'rb').read(1)",
        "open('/dev/null', 'w').write('x')",
        "open('/tmp/mindset-escaped', 'w')",
    ]
    for code in denied:
        assert attempt(hostile, code) in ("errno 1", "errno 13", "errno 18", "errno 30"), code
    assert secret.read_text() == "secret"
    assert list(tmp_path.iterdir()) == [secret]
    # Its own code stays readable, for modules that are imported later.
    assert "module" in attempt(hostile, "__import__('wave')")


@linux_only
def test_child_signals_no_other_process_and_reads_no_other_memory(hostile: ParserPool) -> None:
    assert attempt(hostile, f"os.kill({os.getpid()}, 0)") in ("errno 1", "None")
    traced = f"ctypes.CDLL(None, use_errno=True).ptrace(16, {os.getpid()}, 0, 0)"
    assert attempt(hostile, traced) == "-1"


@linux_only
def test_threads_of_the_child_are_confined_too(hostile: ParserPool) -> None:
    code = """
import threading, socket
results = []
def run():
    for action in (lambda: socket.socket(), lambda: open('/etc/passwd')):
        try:
            results.append(str(action()))
        except OSError as error:
            results.append(error.errno)
thread = threading.Thread(target=run)
thread.start()
thread.join()
found = results
"""
    assert found(hostile, code) == [1, 13]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import os, sys; print('harmless'); print('out of handles', file=sys.stderr, flush=True); os._exit(3)",
            r"The parser crashed \(out of handles\)\. Save",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"The parser crashed \(SIGSEGV\)\. Save"),
        ("raise KeyError('font')", r"The parser crashed \(KeyError: 'font'\)\. Save"),
        (
            "import os, sys; sys.stderr.write('x' * 300_000 + '\\n  last\\u200b line \\n\\n'); sys.stderr.flush(); os.abort()",
            r"The parser crashed \(SIGABRT: last line\)\. Save",
        ),
    ],
)
def test_output_of_a_crashed_parser_is_part_of_the_reason(hostile: ParserPool, code: str, reason: str) -> None:
    with pytest.raises(DocumentRejected, match=reason) as rejected:
        hostile.parse("a.pdf", code.encode())
    assert len(str(rejected.value)) < 500
    assert found(hostile, "found = 1") == 1


@pytest.mark.parametrize("written", [r"warning: bad font\n", r"{\"rejected\": \"no\"}\n", "no line end", r"[]\n[]\n"])
def test_output_of_native_code_is_part_of_no_response(hostile: ParserPool, written: str) -> None:
    for number in range(3):
        code = f'import os; os.write(1, b"{written}"); found = {number}'
        assert found(hostile, code) == number


# Writes to the pipe of the responses, which is the only other pipe that is open for writing.
_WRITE_RESPONSE = """
import fcntl, os, stat
def is_response_pipe(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    except OSError:
        return False
os.write(next(fd for fd in range(3, 50) if is_response_pipe(fd)), {written!r})
found = 'the second'
"""


@pytest.mark.parametrize(
    "written",
    [
        b"not JSON\n",
        b"[1]\n",
        b"7\n",
        b"\xff\n",
        b"{}\n",
        b'{"request": 2, "unexpected": true}\n',
        b'{"request": 2, "acl": 5}\n',
        b'{"request": 1, "text": "x", "title": "x", "media_type": "text/plain", "acl": null}\n',
    ],
)
def test_no_document_gets_the_response_to_another(hostile: ParserPool, written: bytes) -> None:
    assert found(hostile, "found = 'the first'") == "the first"
    with pytest.raises(DocumentRejected, match="response is invalid"):
        hostile.parse("a.pdf", _WRITE_RESPONSE.replace("{written!r}", repr(written)).encode())
    for number in range(2):
        assert found(hostile, f"found = {number}") == number


def test_child_with_an_unread_response_is_not_used_again(hostile: ParserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cancelled(BaseException):
        pass

    def cancel(line: bytes, request: int) -> None:
        raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr("mindset.parsing.sandbox._response", cancel)
        with pytest.raises(Cancelled):
            hostile.parse("a.pdf", b"found = 1")
    assert found(hostile, "import json; found = 2") == 2


def test_what_cannot_be_denied_is_reported() -> None:
    unsupported = _HOSTILE.replace("sandbox.serve()", "import sys; sys.platform = 'other'; sandbox.serve()")
    with ParserPool(children=1, timeout_s=30, program=(sys.executable, "-c", unsupported)) as pool:
        assert found(pool, "found = 1") == 1
        assert pool.unconfined == (NETWORK, FILES)
