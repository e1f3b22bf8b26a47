"""The account that Postgres runs as where the stack is started by root."""

import os
import subprocess
import sys

import pytest

_ASKS = "import sys; from mindset.local.postgres import account_of; print(account_of(sys.argv[1]).pw_uid)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")
def test_stacks_that_start_together_on_a_new_machine_get_one_account() -> None:
    name = f"mindset-test-{os.getpid()}"
    try:
        asking = [subprocess.Popen([sys.executable, "-c", _ASKS, name], stdout=subprocess.PIPE) for _ in range(6)]
        told = {each.communicate()[0].strip() for each in asking}
        assert told == {subprocess.check_output(["id", "-u", name]).strip()}
    finally:
        subprocess.run(["userdel", name], check=False)
