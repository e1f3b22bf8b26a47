"""A supervisor in a process of its own, for tests that kill it: python supervisor.py DIRECTORY SERVICE..."""

from __future__ import annotations

import sys
from pathlib import Path

from mindset.errors import StackError
from mindset.local.stack import Stack
from mindset.local.supervision import supervise

if __name__ == "__main__":
    try:
        supervise(Stack(Path(sys.argv[1]), services=sys.argv[2:]))
    except StackError as failure:
        sys.exit(str(failure))
