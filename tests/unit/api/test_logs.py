"""The API's log: one stream, of JSON."""

from __future__ import annotations

import json
import subprocess
import sys

_LOGS = """
import logging, structlog
from api.telemetry.logs import configure_logs

configure_logs("INFO")
structlog.get_logger().info("ours", kb="docs")
logging.getLogger("a.library").warning("theirs: %s", "yes")
logging.getLogger("a.library").debug("too little to be said")
try:
    raise ValueError("broken")
except ValueError:
    logging.getLogger("a.library").exception("and why")
"""


def test_lines_of_ours_and_of_libraries_go_to_standard_output_as_json() -> None:
    done = subprocess.run([sys.executable, "-c", _LOGS], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["event"], each["level"]) for each in lines] == [
        ("ours", "info"),
        ("theirs: yes", "warning"),
        ("and why", "error"),
    ]
    assert "ValueError: broken" in lines[2]["exception"]
    assert all(each["timestamp"] for each in lines)
