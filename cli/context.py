"""The settings, the installation and the user that commands work with."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

from local_stack.state import connect
from mindset.application import Installation, open_installation
from mindset.config.settings import Settings, load_settings


def connected_settings() -> Settings:
    """Load the settings; unset addresses are those of the running local stack."""
    return connect(load_settings())


@contextmanager
def open_cli_installation() -> Iterator[Installation]:
    """Open the installation of the settings or of the local stack."""
    with open_installation(connected_settings()) as opened:
        yield opened


def current_user() -> str:
    """Return the name of the user, for the audit log."""
    return getpass.getuser()
