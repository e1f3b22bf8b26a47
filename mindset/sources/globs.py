"""Glob patterns matched folder by folder, so that one walk finds all files: `*`, `?`, `[...]`, and `**` for folders.

As in Python's `glob`, a name with a leading dot is matched only by a pattern with a leading dot. However, an
`exclude` pattern that ends in `**` excludes everything below a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Self


@dataclass(frozen=True)
class Globs:
    """Patterns relative to a folder, each split into its parts."""

    patterns: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """Parse patterns, whose parts are separated by `/`."""
        return cls(frozenset(tuple(part for part in text.split("/") if part not in ("", ".")) for text in patterns))

    def below(self, folder: str) -> Globs:
        """Return the patterns relative to a subfolder of this name."""
        return Globs(
            frozenset(
                parts if parts[0] == "**" else parts[1:]
                for parts in _expand(self.patterns)
                if (parts[0] == "**" or len(parts) > 1) and re.match(_regex(parts[0]), folder)
            )
        )

    def match(self, file: str) -> bool:
        """Return whether a file of this name in this folder matches."""
        return self._file_regex.match(file) is not None

    @cached_property
    def _file_regex(self) -> re.Pattern[str]:
        return _file_regex(self.patterns)

    @property
    def matches_everything(self) -> bool:
        """Whether all files in this folder and below match."""
        return bool(self.patterns & {("**",), ("**", "*")})


@lru_cache
def _expand(patterns: frozenset[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
    """Add the patterns that result when `**` matches no folder."""
    expanded = patterns
    while more := {parts[1:] for parts in expanded if parts[0] == "**" and len(parts) > 1} - expanded:
        expanded |= more
    return expanded


@lru_cache
def _file_regex(patterns: frozenset[tuple[str, ...]]) -> re.Pattern[str]:
    names = [parts[0] for parts in _expand(patterns) if len(parts) == 1]
    return re.compile("|".join(map(_regex, names)) if names else r"(?!)")


def _regex(part: str) -> str:
    visible = "" if part.startswith(".") else r"(?!\.)"
    # Without regard to case: a file `REPORT.PDF` is a PDF, and some file systems do not distinguish them.
    return f"(?i:{visible}{translate('*' if part == '**' else part)})"


def matches_path(pattern: str, path: str) -> bool:
    """Return whether a path, whose parts are separated by `/`, matches a glob."""
    *folders, name = path.split("/")
    globs = Globs.of([pattern])
    for folder in folders:
        globs = globs.below(folder)
    return globs.match(name)
