"""Globs matched folder by folder, so that one walk lists what they match: `*`, `?`, `[...]`, and `**` for any folders.

As in `glob`, a name that begins with a dot is matched only by a pattern that does; but what ends in `**` leaves out all
below a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property, lru_cache
from typing import Self


@dataclass(frozen=True)
class Globs:
    """What is left of patterns below a folder, in parts."""

    patterns: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """Patterns relative to one folder, with `/` between their parts."""
        return cls(frozenset(tuple(part for part in each.split("/") if part not in ("", ".")) for each in patterns))

    def below(self, folder: str) -> Globs:
        """What is left of them in a folder of this name."""
        return Globs(
            frozenset(
                each if each[0] == "**" else each[1:]
                for each in _unfolded(self.patterns)
                if (each[0] == "**" or len(each) > 1) and re.match(_regex(each[0]), folder)
            )
        )

    def match(self, file: str) -> bool:
        """Whether a file of this name, here, is matched."""
        return self._files.match(file) is not None

    @cached_property
    def _files(self) -> re.Pattern[str]:
        return _files(self.patterns)

    @property
    def everything(self) -> bool:
        """Whether all that is here and below is matched."""
        return bool(self.patterns & {("**",), ("**", "*")})


@lru_cache
def _unfolded(patterns: frozenset[tuple[str, ...]]) -> frozenset[tuple[str, ...]]:
    """`**` also stands for no folder at all."""
    found = patterns
    while more := {each[1:] for each in found if each[0] == "**" and len(each) > 1} - found:
        found |= more
    return found


@lru_cache
def _files(patterns: frozenset[tuple[str, ...]]) -> re.Pattern[str]:
    last = [each[0] for each in _unfolded(patterns) if len(each) == 1]
    return re.compile("|".join(map(_regex, last)) if last else r"(?!)")


def _regex(part: str) -> str:
    visible = "" if part.startswith(".") else r"(?!\.)"
    return visible + translate("*" if part == "**" else part)
