"""The installation that a command works on."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

from mindset.installation import Installation, open_installation
from mindset.local.state import connect
from mindset.settings import Settings, load_settings


def connected_settings() -> Settings:
    """The settings, with the addresses of the local stack where they name none."""
    return connect(load_settings())


@contextmanager
def installation() -> Iterator[Installation]:
    """The installation of the settings, or of the local stack."""
    with open_installation(connected_settings()) as opened:
        yield opened


def me() -> str:
    """Who releases by hand."""
    return getpass.getuser()
