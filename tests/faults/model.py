"""What a knowledge base must show, in plain dictionaries: the state machine compares the real one with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Uri = str
Text = int
"""Texts are numbered: equal numbers are equal texts."""

Rights = frozenset[str]
EVERYBODY: Rights = frozenset({"*"})


@dataclass(frozen=True)
class File:
    """What lies in the folder."""

    text: Text
    acl: Rights


@dataclass
class Model:
    """Documents, versions and releases of one knowledge base."""

    files: dict[Uri, File] = field(default_factory=dict)
    rights: dict[Uri, Rights] = field(default_factory=dict)
    """As last ingested."""

    down: set[Uri] = field(default_factory=set)
    shown: dict[int, dict[Uri, Text]] = field(default_factory=dict)
    """What each finished version shows."""

    state: dict[int, str] = field(default_factory=dict)
    lives: list[int] = field(default_factory=list)
    """Every version that went live, in order."""

    building: int | None = None

    @property
    def live(self) -> int | None:
        return self.lives[-1] if self.lives else None

    @property
    def retained(self) -> list[int]:
        return [number for number, state in self.state.items() if state != "retired"]

    def visible(self, version: int, principals: Iterable[str]) -> set[tuple[Uri, Text]]:
        """What these may see of a version."""
        callers = EVERYBODY.union(principals)
        return {
            (uri, text)
            for uri, text in self.shown[version].items()
            if uri not in self.down and self.rights[uri] & callers
        }

    def texts(self) -> dict[Uri, Text]:
        """What a version made now would show."""
        return {uri: file.text for uri, file in self.files.items()}

    def restrict(self, uri: Uri, acl: Rights) -> None:
        self.files[uri] = replace(self.files[uri], acl=acl)

    def target(self) -> int | None:
        """The version that a night would bring live: one that it makes, or one that waits; None where nothing changed."""
        newest = max(self.state, default=0)
        if self.building or self.texts() != self.shown.get(newest, {}):
            return self.building or newest + 1
        return newest if self.state[newest] == "ready" and newest not in self.lives else None

    def ingest(self) -> None:
        """Rights act as soon as they are read."""
        self.rights |= {uri: file.acl for uri, file in self.files.items()}

    def finish(self, version: int) -> None:
        """A version is built, and not released yet."""
        if version not in self.state:
            self.shown[version], self.state[version] = self.texts(), "ready"
            self.building = None

    def release(self, version: int) -> None:
        """A version goes live, by a night or by hand."""
        if version != self.live:
            self.lives.append(version)
            self.state[version] = "ready"

    def earlier(self) -> int | None:
        """Where a rollback leads."""
        return next((each for each in reversed(self.lives) if each != self.live and self.state[each] == "ready"), None)

    def roll_back(self) -> None:
        target, live = self.earlier(), self.live
        assert target and live
        self.lives.append(target)
        self.state[live] = "rejected"

    def retiring(self, keep: int) -> set[int]:
        """What maintenance retires: all but the newest, as many ways back, and what is live."""
        newest = sorted(self.state)[-keep:]
        ready = sorted(number for number, state in self.state.items() if state == "ready")[-keep:]
        return set(self.retained) - {*newest, *ready, self.live}

    def retire(self, versions: set[int]) -> None:
        for version in versions:
            self.state[version] = "retired"
            del self.shown[version]
