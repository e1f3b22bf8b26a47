"""Promotion and rollback: change the live version in one transaction while queries are in flight."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mindset.catalog.audit import record_audit
from mindset.catalog.build import Build
from mindset.catalog.evaluations import EvaluationRecord, get_evaluation
from mindset.catalog.idempotency import IdempotentRequest, find_response, store_response
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import (
    live_release,
    live_version,
    lock_channel,
    previous_live_version,
    release_version,
    rollback_version,
)
from mindset.catalog.transactions import Connection, WriteConnection
from mindset.catalog.versions import Version, finished_version, get_version, set_state
from mindset.errors import LiveReleaseChanged, PreconditionFailed, UnknownVersion


@dataclass(frozen=True)
class Decision:
    """The outcome for a version: released, or rejected with reasons."""

    version: int
    released: bool
    replaces: int | None
    reasons: tuple[str, ...]
    replayed: bool = False
    """Whether this is the stored outcome of an earlier identical request."""


@dataclass(frozen=True)
class Precondition:
    """A condition that a request places on the live release, and its idempotency key."""

    releases: frozenset[int | None] | None = None
    """Ids of which one must be the live release; None: any. The id None means that none is live."""
    requires_release: bool = False
    """Whether some release must be live."""
    idempotent_request: IdempotentRequest | None = None
    """Set if a repeated request must get the response of the first one."""
    rollback_to: int | None = None
    """The version that a rollback must make live; None: any."""

    def check(self, connection: WriteConnection, kb: str) -> Decision | None:
        """Return the stored decision of an earlier identical request, or None. Call it under the channel's lock.

        Raises PreconditionFailed, or RequestRejected if the idempotency key was used for another request."""
        if self.idempotent_request and (stored := find_response(connection, self.idempotent_request)):
            # Earlier releases stored the flag as `again`.
            stored = {key: value for key, value in stored.items() if key != "again"}
            return Decision(**{**stored, "reasons": tuple(stored["reasons"]), "replayed": True})
        live = live_release(connection, kb)
        if self.requires_release and live is None:
            raise PreconditionFailed(f"No release of {kb} is live, but the request requires one.")
        if self.releases is not None and live not in self.releases:
            expected = " or ".join(sorted(map(str, self.releases)))
            raise PreconditionFailed(
                f"Release {live} of {kb} is live, but the request requires {expected}. Read the live release and try again."
            )
        return None


def _store_decision(connection: WriteConnection, decision: Decision, condition: Precondition | None) -> Decision:
    if condition and condition.idempotent_request:
        store_response(connection, condition.idempotent_request, asdict(decision))
    return decision


def deploy(build: Build, kb: str, evaluation: int, by: str) -> Decision:
    """Release the evaluated version if it passed the gate, or reject it.

    Raises UnknownVersion, LiveReleaseChanged if another version went live since the evaluation, and BuildTakenOver."""
    with build.reading() as connection:
        judged = get_evaluation(connection, kb, evaluation)
    if judged is None:
        raise UnknownVersion(f"{kb} has no evaluation {evaluation}. Run the evaluate stage first.")
    if judged.build is None:
        raise UnknownVersion(
            f"Evaluation {evaluation} of {kb} was not stored by a build, so it cannot release version {judged.version}. "
            f"Run `mindset night {kb}`, which evaluates it."
        )
    if judged.passed:
        with build.writing() as connection:
            reason = "; ".join(judged.reasons) or "evaluation passed"
            return _promote(connection, kb, judged.version, by, reason, judged)
    with build.writing() as connection:
        live = lock_channel(connection, kb, "live")
        if live != judged.version:
            _check_baseline(kb, judged, live)
            set_state(connection, kb, judged.version, "rejected")
        record_audit(connection, kb, by, "reject", {"version": judged.version, "reasons": list(judged.reasons)})
    return Decision(judged.version, released=False, replaces=live, reasons=judged.reasons)


def promote(
    catalog: Catalog, kb: str, version: int, by: str, reason: str, condition: Precondition | None = None
) -> Decision:
    """Make a finished version live, whatever the result of its evaluation.

    Raises UnknownVersion (missing, unfinished or retired), and what the condition raises."""
    with catalog.writing() as connection:
        return _promote(connection, kb, version, by, reason, condition=condition)


def _promote(
    connection: WriteConnection,
    kb: str,
    version: int,
    by: str,
    reason: str,
    judged: EvaluationRecord | None = None,
    condition: Precondition | None = None,
) -> Decision:
    """Make a version live. With `judged`, only if it was not rejected and its baseline is still live."""
    live = lock_channel(connection, kb, "live")
    if condition and (decided := condition.check(connection, kb)):
        return decided
    candidate = finished_version(connection, kb, version)
    if live == version:
        # An earlier attempt of the same request may have released it, and its response may have been lost.
        replaced = previous_live_version(connection, kb)
        return _store_decision(connection, Decision(version, True, replaced, ("it is live already",)), condition)
    if judged and candidate.state == "rejected":
        raise UnknownVersion(
            f"Version {version} of {kb} was rejected or rolled back since. `mindset promote {kb} {version}` "
            "releases it by hand."
        )
    if judged:
        _check_baseline(kb, judged, live)
    release_version(connection, kb, "live", version, by, reason)
    set_state(connection, kb, version, "ready")
    record_audit(connection, kb, by, "promote", {"version": version, "replaces": live, "reason": reason})
    return _store_decision(connection, Decision(version, True, live, (reason,)), condition)


def roll_back(catalog: Catalog, kb: str, by: str, reason: str, condition: Precondition | None = None) -> Decision:
    """Make the previous live version live again, and reject the current one, so that no night promotes it again.

    Raises UnknownVersion if there is no version to go back to, and what the condition raises."""
    with catalog.writing() as connection:
        lock_channel(connection, kb, "live")
        if condition and (decided := condition.check(connection, kb)):
            return decided
        live, target = rollback_target(connection, kb)
        if condition and condition.rollback_to not in (None, target.number):
            raise PreconditionFailed(
                f"A rollback of {kb} leads to version {target.number} now, but the request requires version "
                f"{condition.rollback_to}. Read the live release and try again."
            )
        release_version(connection, kb, "live", target.number, by, reason)
        set_state(connection, kb, target.number, "ready")
        set_state(connection, kb, live, "rejected")
        record_audit(connection, kb, by, "roll back", {"from": live, "to": target.number, "reason": reason})
        return _store_decision(connection, Decision(target.number, True, live, (reason,)), condition)


def rollback_target(connection: Connection, kb: str) -> tuple[int, Version]:
    """Return the live version and the version that a rollback makes live. Raises UnknownVersion if there is none."""
    live = live_version(connection, kb)
    number = rollback_version(connection, kb)
    target = get_version(connection, kb, number) if number else None
    if live is None or target is None:
        raise UnknownVersion(
            f"{kb} has no earlier release to go back to. `mindset releases {kb}` shows its history; "
            f"`mindset promote {kb} VERSION` releases any finished version."
        )
    return live, target


def _check_baseline(kb: str, judged: EvaluationRecord, live: int | None) -> None:
    """Raise LiveReleaseChanged unless the version that the evaluation compared with is still live."""
    if judged.baseline != live:
        raise LiveReleaseChanged(
            f"Version {judged.version} of {kb} was compared with {_version_name(judged.baseline)}, but {_version_name(live)} "
            f"is live now. Run `mindset night {kb}` again, which evaluates it again."
        )


def _version_name(version: int | None) -> str:
    return f"version {version}" if version else "nothing"
