"""A model of a knowledge base in plain dictionaries, with which the state machine compares the real one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

Uri = str
Text = int
"""A text's number: equal numbers are equal texts."""

Rights = frozenset[str]
EVERYBODY: Rights = frozenset({"*"})


@dataclass(frozen=True)
class File:
    """A file in the source folder."""

    text: Text
    acl: Rights


@dataclass
class Model:
    """Documents, versions and releases of one knowledge base."""

    files: dict[Uri, File] = field(default_factory=dict)
    rights: dict[Uri, Rights] = field(default_factory=dict)
    """ACLs as last ingested."""

    down: set[Uri] = field(default_factory=set)
    shown: dict[int, dict[Uri, Text]] = field(default_factory=dict)
    """The texts of each finished version."""

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
        """Return the documents of a version that a caller with these principals may read."""
        callers = EVERYBODY.union(principals)
        return {
            (uri, text)
            for uri, text in self.shown[version].items()
            if uri not in self.down and self.rights[uri] & callers
        }

    def texts(self) -> dict[Uri, Text]:
        """Return the texts of a version built now."""
        return {uri: file.text for uri, file in self.files.items()}

    def restrict(self, uri: Uri, acl: Rights) -> None:
        self.files[uri] = replace(self.files[uri], acl=acl)

    def target(self) -> int | None:
        """Return the version that a run would promote: a new one, or one built and not yet promoted. None: no change."""
        newest = max(self.state, default=0)
        if self.building or self.texts() != self.shown.get(newest, {}):
            return self.building or newest + 1
        return newest if self.state[newest] == "ready" and newest not in self.lives else None

    def ingest(self) -> None:
        """ACLs apply as soon as they are ingested."""
        self.rights |= {uri: file.acl for uri, file in self.files.items()}

    def finish(self, version: int) -> None:
        """Note that a version is built, but not yet released."""
        if version not in self.state:
            self.shown[version], self.state[version] = self.texts(), "ready"
            self.building = None

    def release(self, version: int) -> None:
        """Note that a version goes live, by a run or manually."""
        if version != self.live:
            self.lives.append(version)
            self.state[version] = "ready"

    def earlier(self) -> int | None:
        """Return the target of a rollback."""
        candidates = (version for version in reversed(self.lives) if version != self.live)
        return next((version for version in candidates if self.state[version] == "ready"), None)

    def roll_back(self) -> None:
        target, live = self.earlier(), self.live
        assert target and live
        self.lives.append(target)
        self.state[live] = "rejected"

    def retiring(self, keep: int) -> set[int]:
        """Return what maintenance retires: all but the newest versions, the newest ready ones, and the live one."""
        newest = sorted(self.state)[-keep:]
        ready = sorted(number for number, state in self.state.items() if state == "ready")[-keep:]
        return set(self.retained) - {*newest, *ready, self.live}

    def retire(self, versions: set[int]) -> None:
        for version in versions:
            self.state[version] = "retired"
            del self.shown[version]
