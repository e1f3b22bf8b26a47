"""A supervisor in its own process, for tests that kill it: `python supervisor.py DIRECTORY SERVICE...`"""

from __future__ import annotations

import sys
from pathlib import Path

from local_stack.stack import Stack
from local_stack.supervision import supervise
from mindset.errors import StackError

if __name__ == "__main__":
    try:
        supervise(Stack(Path(sys.argv[1]), services=sys.argv[2:]))
    except StackError as failure:
        sys.exit(str(failure))
