"""The account under which Postgres runs if root starts the stack."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system without access control lists")
def test_folder_that_cannot_be_opened_to_one_account_is_reported() -> None:
    with pytest.raises(StackError, match=r"cannot enter /proc/\d+/map_files.*chmod o\+x"):
        let_enter(Path(f"/proc/{os.getpid()}/map_files"), 65_000, pwd.getpwuid(os.geteuid()).pw_name)
