"""The installation that a command works on."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

from local_stack.state import connect
from mindset.application import Installation, open_installation
from mindset.config.settings import Settings, load_settings


def connected_settings() -> Settings:
    """The settings, with the addresses of the local stack where they name none."""
    return connect(load_settings())


@contextmanager
def open_cli_installation() -> Iterator[Installation]:
    """The installation of the settings, or of the local stack."""
    with open_installation(connected_settings()) as opened:
        yield opened


def current_user() -> str:
    """Who releases by hand."""
    return getpass.getuser()
