"""`python -m tests.faults.night KB`: one night in a process of its own, to be killed."""

from __future__ import annotations

import logging
import sys

from mindset.installation import open_installation
from mindset.settings import load_settings
from tests.corpus import run_night

if __name__ == "__main__":
    logging.disable(logging.INFO)
    with open_installation(load_settings()) as installation:
        sys.stdout.write("started\n")
        sys.stdout.flush()
        run_night(installation, sys.argv[1])
