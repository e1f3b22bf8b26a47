"""Confine this process: no network, no new programs, and only Python's own files, read-only. Needs no privileges.

Linux only: seccomp denies system calls, Landlock files. The standard library has neither, and the libraries for them are
unmaintained or need a program that containers lack, so this calls the kernel directly.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NETWORK, FILES = "the network", "files"
"""What `confine` denies."""

# Numbers of system calls: linux/arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_ARCHITECTURES: Final = {
    "x86_64": (0xC000003E, {
        "socket": 41, "connect": 42, "socketpair": 53, "execve": 59, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "seccomp": 317, "bpf": 321, "execveat": 322,
    }),
    "aarch64": (0xC00000B7, {
        "socket": 198, "connect": 203, "socketpair": 199, "execve": 221, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "seccomp": 277, "bpf": 280, "execveat": 281,
    }),
}  # fmt: skip
_EVERYWHERE: Final = {"io_uring_setup": 425, "pidfd_getfd": 438}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446

_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32_BIT: Final = 0x40000000

# Rights of files by Landlock's version: each handles all of the earlier ones.
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_TCP: Final = 0b11  # bind and connect, from version 4
_SCOPES: Final = 0b11  # abstract Unix sockets and signals, from version 6
_SYSTEM_FILES: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/etc/localtime", "/dev/null", "/dev/urandom",
)  # fmt: skip


def confine() -> tuple[str, ...]:
    """Confine this process and all threads and processes that it starts, for ever. Returns what could not be denied."""
    if sys.platform != "linux":
        return NETWORK, FILES
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return NETWORK, FILES
    # Landlock first, since seccomp may forbid its system calls in a container.
    denied = {FILES: _deny_files(kernel), NETWORK: _deny_network(kernel)}
    return tuple(name for name, done in denied.items() if not done)


def _deny_network(kernel: ctypes.CDLL) -> bool:
    """Let system calls fail that reach other processes or start programs, with seccomp."""
    if platform.machine() not in _ARCHITECTURES:
        return False
    architecture, calls = _ARCHITECTURES[platform.machine()]
    forbidden = sorted({**calls, **_EVERYWHERE}.values())
    forbidden.remove(calls["seccomp"])
    count = len(forbidden)
    # Fields of struct seccomp_data: the system call at offset 0, the architecture at 4.
    program = [
        (_LOAD, 0, 0, 4),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32_BIT),  # the second numbering of x86-64
        *((_JUMP_IF_EQUAL, count - index, 0, number) for index, number in enumerate(forbidden)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_ = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(instructions)))
    return not kernel.syscall(calls["seccomp"], _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, filter_)


def _deny_files(kernel: ctypes.CDLL) -> bool:
    """Allow reading Python, its libraries and this package, and nothing else, with Landlock."""
    version = kernel.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = kernel.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for path, allowed in _readable():
            _allow(kernel, ruleset, path, allowed)
        return not kernel.syscall(_LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _readable() -> Iterator[tuple[Path, int]]:
    """Yield what the process may read. A project's folder can be listed only, because it may contain `.env`."""
    package = Path(__file__).parent.parent
    yield package, _READ_FILE | _READ_DIR
    project = package.parent.resolve()
    libraries = {*map(Path, sysconfig.get_paths().values()), Path(sys.base_prefix, "lib")}
    searched = {Path(entry or ".") for entry in sys.path}
    for path in (*libraries, *searched, *map(Path, os.environ.get("LD_LIBRARY_PATH", "").split(":"))):
        is_project = path.resolve() == project and path not in libraries
        yield path, _READ_DIR if is_project else _READ_FILE | _READ_DIR
    for name in _SYSTEM_FILES:
        yield Path(name), _READ_FILE | _READ_DIR


def _allow(kernel: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    if not path.exists():
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)  # type: ignore[attr-defined,unused-ignore]  # Linux only
    try:
        allowed = rights if path.is_dir() else rights & ~_READ_DIR
        kernel.syscall(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", allowed, descriptor), 0)
    finally:
        os.close(descriptor)
