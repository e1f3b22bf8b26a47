"""Releases: which version is live, decided in one transaction while queries are in flight."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mindset.catalog.connection import Catalog, Connection, Writing
from mindset.catalog.evaluations import EvaluationRecord, get_evaluation
from mindset.catalog.idempotency import Once, earlier, remember
from mindset.catalog.releases import (
    list_releases,
    live_release,
    live_version,
    lock_channel,
    put_on_channel,
    record,
    replaced_by_live,
)
from mindset.catalog.versions import Version, get_version, set_state
from mindset.errors import LiveMoved, PreconditionFailed, UnknownVersion


@dataclass(frozen=True)
class Decision:
    """What became of a version: the release it is now, or why it is none."""

    version: int
    released: bool
    replaces: int | None
    reasons: tuple[str, ...]
    again: bool = False
    """Whether it was made before, for the same request."""


@dataclass(frozen=True)
class Condition:
    """Under which a request changes what is live."""

    releases: frozenset[int] | None = None
    """Releases one of which must be live still; None: whichever."""
    some: bool = False
    """Whether any release must be live."""
    once: Once | None = None
    """Makes the same request, sent again, be told the same."""

    def check(self, connection: Writing, kb: str) -> Decision | None:
        """What was decided for the same request before; None where it is new. Call it under the channel's lock.

        Raises PreconditionFailed, and RequestRejected where the key stands for another request."""
        if self.once and (told := earlier(connection, self.once)):
            return Decision(**{**told, "reasons": tuple(told["reasons"]), "again": True})
        live = live_release(connection, kb)
        if self.some and live is None:
            raise PreconditionFailed(f"No release of {kb} is live, and the request was made for one.")
        if self.releases is not None and live not in self.releases:
            named = " or ".join(map(str, sorted(self.releases)))
            raise PreconditionFailed(
                f"Release {live} of {kb} is live, and the request was made for {named}. Look at what is live now."
            )
        return None


def _decided(connection: Writing, decision: Decision, condition: Condition | None) -> Decision:
    if condition and condition.once:
        remember(connection, condition.once, asdict(decision))
    return decision


def deploy(catalog: Catalog, kb: str, evaluation: int, by: str) -> Decision:
    """Release the version that an evaluation let through, or reject the one that it did not.

    Raises UnknownVersion, and LiveMoved when another version went live since the evaluation."""
    with catalog.reading() as connection:
        judged = get_evaluation(connection, kb, evaluation)
    if judged is None:
        raise UnknownVersion(f"{kb} has no evaluation {evaluation}. Run the evaluate stage first.")
    if judged.passed:
        return promote(catalog, kb, judged.version, by, "; ".join(judged.reasons) or "evaluation passed", judged)
    with catalog.writing() as connection:
        live = lock_channel(connection, kb, "live")
        if live != judged.version:
            _check_baseline(kb, judged, live)
            set_state(connection, kb, judged.version, "rejected")
        record(connection, kb, by, "reject", {"version": judged.version, "reasons": list(judged.reasons)})
    return Decision(judged.version, released=False, replaces=live, reasons=judged.reasons)


def promote(
    catalog: Catalog,
    kb: str,
    version: int,
    by: str,
    reason: str,
    judged: EvaluationRecord | None = None,
    condition: Condition | None = None,
) -> Decision:
    """Make a finished version live. With `judged`, only if what it was compared with still is.

    Raises UnknownVersion (missing, unfinished, retired, or rejected without being promoted by hand), LiveMoved,
    and what the condition does."""
    with catalog.writing() as connection:
        live = lock_channel(connection, kb, "live")
        if condition and (decided := condition.check(connection, kb)):
            return decided
        found = promotable(connection, kb, version)
        if live == version:
            # It may have gone live a moment ago, for the same request, whose answer was lost.
            replaced = replaced_by_live(connection, kb)
            return _decided(connection, Decision(version, True, replaced, ("it is live already",)), condition)
        if judged and found.state == "rejected":
            raise UnknownVersion(
                f"Version {version} of {kb} was rejected or rolled back since. `mindset promote {kb} {version}` "
                "releases it by hand."
            )
        if judged:
            _check_baseline(kb, judged, live)
        put_on_channel(connection, kb, "live", version, by, reason)
        set_state(connection, kb, version, "ready")
        record(connection, kb, by, "promote", {"version": version, "replaces": live, "reason": reason})
        return _decided(connection, Decision(version, True, live, (reason,)), condition)


def promotable(connection: Connection, kb: str, version: int) -> Version:
    """A version that can be promoted by hand. Raises UnknownVersion where it is missing, unfinished or retired."""
    found = get_version(connection, kb, version)
    if found is None or found.state in ("building", "retired"):
        state = f"is {found.state}" if found else "does not exist"
        raise UnknownVersion(f"Version {version} of {kb} {state}. `mindset releases {kb}` lists those to choose from.")
    return found


def roll_back(catalog: Catalog, kb: str, by: str, reason: str, condition: Condition | None = None) -> Decision:
    """Make live again what was live before, and reject what is live now, so that no night promotes it again.

    Raises UnknownVersion where nothing that was live before can be again, and what the condition does."""
    with catalog.writing() as connection:
        lock_channel(connection, kb, "live")
        if condition and (decided := condition.check(connection, kb)):
            return decided
        live, target = way_back(connection, kb)
        put_on_channel(connection, kb, "live", target.number, by, reason)
        set_state(connection, kb, target.number, "ready")
        set_state(connection, kb, live, "rejected")
        record(connection, kb, by, "roll back", {"from": live, "to": target.number, "reason": reason})
        return _decided(connection, Decision(target.number, True, live, (reason,)), condition)


def way_back(connection: Connection, kb: str) -> tuple[int, Version]:
    """What is live, and what a rollback makes live instead. Raises UnknownVersion where there is nothing to go back to."""
    live = live_version(connection, kb)
    target = _earlier(connection, kb, live)
    if live is None or target is None:
        raise UnknownVersion(
            f"{kb} has no earlier release to go back to. `mindset releases {kb}` shows its history; "
            f"`mindset promote {kb} VERSION` releases any finished version."
        )
    return live, target


def _check_baseline(kb: str, judged: EvaluationRecord, live: int | None) -> None:
    """A verdict holds against what it compared with. Raises LiveMoved."""
    if judged.baseline != live:
        raise LiveMoved(
            f"Version {judged.version} of {kb} was judged against {_named(judged.baseline)}, and {_named(live)} is live "
            f"now. Run `mindset night {kb}` again: it judges it anew."
        )


def _earlier(connection: Connection, kb: str, live: int | None) -> Version | None:
    """The version that was live last, of those that are neither live, retired nor rejected since."""
    for release in list_releases(connection, kb, limit=1_000):
        if release.channel == "live" and release.version != live:
            version = get_version(connection, kb, release.version)
            if version and version.state == "ready":
                return version
    return None


def _named(version: int | None) -> str:
    return f"version {version}" if version else "nothing"
