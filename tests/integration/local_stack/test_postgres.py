"""The account under which Postgres runs if root starts the stack."""

import os
import shutil
import subprocess
import sys

import pytest

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
