"""Releases: which version is live, decided in one transaction while queries are in flight."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.catalog.connection import Catalog, Connection
from mindset.catalog.evaluations import EvaluationRecord, get_evaluation
from mindset.catalog.releases import list_releases, lock_channel, put_on_channel, record
from mindset.catalog.versions import Version, get_version, set_state
from mindset.errors import LiveMoved, UnknownVersion


@dataclass(frozen=True)
class Decision:
    """What became of a version: the release it is now, or why it is none."""

    version: int
    released: bool
    replaces: int | None
    reasons: tuple[str, ...]


def deploy(catalog: Catalog, kb: str, evaluation: int, by: str) -> Decision:
    """Release the version that an evaluation let through, or reject the one that it did not.

    Raises UnknownVersion, and LiveMoved when another version went live since the evaluation."""
    with catalog.reading() as connection:
        judged = get_evaluation(connection, kb, evaluation)
    if judged is None:
        raise UnknownVersion(f"{kb} has no evaluation {evaluation}. Run the evaluate stage first.")
    if judged.passed:
        return promote(catalog, kb, judged.version, by, "evaluation passed", judged)
    with catalog.writing() as connection:
        live = lock_channel(connection, kb, "live")
        if live != judged.version:
            _check_baseline(kb, judged, live)
            set_state(connection, kb, judged.version, "rejected")
        record(connection, kb, by, "reject", {"version": judged.version, "reasons": list(judged.reasons)})
    return Decision(judged.version, released=False, replaces=live, reasons=judged.reasons)


def promote(
    catalog: Catalog, kb: str, version: int, by: str, reason: str, judged: EvaluationRecord | None = None
) -> Decision:
    """Make a finished version live. With `judged`, only if what it was compared with still is.

    Raises UnknownVersion (missing, unfinished, retired, or rejected without being promoted by hand), LiveMoved."""
    with catalog.writing() as connection:
        live = lock_channel(connection, kb, "live")
        found = get_version(connection, kb, version)
        if found is None or found.state in ("building", "retired"):
            state = f"is {found.state}" if found else "does not exist"
            raise UnknownVersion(
                f"Version {version} of {kb} {state}. `mindset releases {kb}` lists those to choose from."
            )
        if live == version:
            return Decision(version, released=True, replaces=live, reasons=("it is live already",))
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
    return Decision(version, released=True, replaces=live, reasons=(reason,))


def roll_back(catalog: Catalog, kb: str, by: str, reason: str) -> Decision:
    """Make live again what was live before, and reject what is live now, so that no night promotes it again.

    Raises UnknownVersion where nothing that was live before can be again."""
    with catalog.writing() as connection:
        live = lock_channel(connection, kb, "live")
        target = _earlier(connection, kb, live)
        if live is None or target is None:
            raise UnknownVersion(
                f"{kb} has no earlier release to go back to. `mindset releases {kb}` shows its history; "
                f"`mindset promote {kb} VERSION` releases any finished version."
            )
        put_on_channel(connection, kb, "live", target.number, by, reason)
        set_state(connection, kb, target.number, "ready")
        set_state(connection, kb, live, "rejected")
        record(connection, kb, by, "roll back", {"from": live, "to": target.number, "reason": reason})
    return Decision(target.number, released=True, replaces=live, reasons=(reason,))


def _check_baseline(kb: str, judged: EvaluationRecord, live: int | None) -> None:
    """A verdict holds against what it compared with. Raises LiveMoved."""
    if judged.baseline != live:
        raise LiveMoved(
            f"Version {judged.version} of {kb} was judged against {_named(judged.baseline)}, and {_named(live)} is live "
            "now. Evaluate it again."
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
