"""The account under which Postgres runs if root starts the stack."""

import os
import pwd
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from local_stack.posix_acl import let_enter
from mindset.errors import StackError

_PRINT_ACCOUNT = (
    "import sys; from local_stack.postgres import system_account; print(system_account(sys.argv[1]).pw_uid)"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create accounts")
@pytest.mark.parametrize("path", [os.environ["PATH"], "/usr/bin:/bin"], ids=["PATH", "PATH without sbin"])
def test_stacks_that_start_concurrently_create_one_account(path: str) -> None:
    name = f"mindset-test-{os.getpid()}"
    try:
        environment = {**os.environ, "PATH": path}
        processes = [
            subprocess.Popen([sys.executable, "-c", _PRINT_ACCOUNT, name], stdout=subprocess.PIPE, env=environment)
            for _ in range(6)
        ]
        accounts = {process.communicate()[0].strip() for process in processes}
        assert accounts == {subprocess.check_output(["id", "-u", name]).strip()}
    finally:
        subprocess.run([shutil.which("userdel", path="/usr/sbin:/sbin") or "userdel", name], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o770])
def test_only_the_account_of_postgres_may_enter_a_private_folder(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    (home / "stack").mkdir(parents=True)
    (home / "stack" / "file").write_text("content")
    (home / "stack").chmod(0o755)
    home.chmod(mode)
    for above in tmp_path.parents:
        if above.stat().st_mode & stat.S_IXOTH == 0:
            let_enter(above, 65_000, "one")
            let_enter(above, 65_001, "other")
    let_enter(tmp_path, 65_000, "one")
    let_enter(tmp_path, 65_001, "other")
    for _ in range(2):
        let_enter(home, 65_000, "one")
    for path, uid, allowed in (
        (home / "stack" / "file", 65_000, True),
        (home, 65_000, False),  # entering is not listing
        (home / "stack" / "file", 65_001, False),
    ):
        command = ["cat" if path.is_file() else "ls", str(path)]
        done = subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, check=False)
        assert (done.returncode == 0) == allowed, done.stderr
    assert home.stat().st_mode & stat.S_IRWXO == 0, "others still may not"


def set_entries(folder: Path, *entries: tuple[int, int, int]) -> None:
    """Set the access control list of a folder, given as (tag, id, permissions)."""
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, id_) for tag, id_, perm in entries)
    os.setxattr(folder, "system.posix_acl_access", packed)


def may_enter(folder: Path, uid: int, gid: int) -> bool:
    """Return whether an account may enter a folder."""
    code = "import os, sys; os.stat(sys.argv[1] + '/.')"
    command = ["/usr/bin/env", "python3", "-c", code, str(folder)]
    return (
        subprocess.run(command, user=uid, group=gid, extra_groups=[], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another account")
@pytest.mark.parametrize("mode", [0o700, 0o740, 0o770])
def test_entries_that_chmod_disabled_stay_disabled(mode: int) -> None:
    no_id, named, group_member, owning_group_member = 0xFFFFFFFF, (65_002, 65_002), (65_003, 65_003), (65_004, 65_004)
    with TemporaryDirectory(dir="/tmp") as path:  # every account can enter /tmp
        folder = Path(path)
        os.chown(folder, 0, 65_004)
        set_entries(
            folder, (1, no_id, 7), (2, 65_002, 7), (4, no_id, 7), (8, 65_003, 7), (0x10, no_id, 7), (0x20, no_id, 0)
        )
        folder.chmod(mode)
        others = (named, group_member, owning_group_member)
        before = [may_enter(folder, *ids) for ids in others]
        assert before == [mode == 0o770] * 3
        let_enter(folder, 65_000, "one")
        assert may_enter(folder, 65_000, 65_000)
        assert [may_enter(folder, *ids) for ids in others] == before


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system without access control lists")
def test_folder_that_cannot_be_opened_to_one_account_is_reported() -> None:
    with pytest.raises(StackError, match=r"cannot enter /proc/\d+/map_files.*chmod o\+x"):
        let_enter(Path(f"/proc/{os.getpid()}/map_files"), 65_000, pwd.getpwuid(os.geteuid()).pw_name)
