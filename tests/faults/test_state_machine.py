"""Compare a knowledge base with a simple model over random sequences of changes, runs, releases, maintenance and kills."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count as counting
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.releases import live_version
from mindset.catalog.segments import used_segments
from mindset.catalog.transactions import rows
from mindset.config.settings import Settings
from mindset.errors import BuildInProgress, NothingReleased, UnknownVersion
from mindset.releases import promotion
from tests.corpus import Corpus, run_night
from tests.faults.chroma import DirectChroma
from tests.faults.invariants import check_segments, check_tidiness, unfinished
from tests.faults.jobs import maintain
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import KILLS
from tests.faults.model import EVERYBODY, File, Model, Rights, Text, Uri
from tests.faults.simulated_crash import SimulatedCrash, StepLimit, crashing_installation
from tests.waiting import wait_until

# These take half a minute. Without additional kills the sequences are the same in each run.
CI_EXAMPLES: Final = 10
EXAMPLES: Final = max(CI_EXAMPLES, KILLS // 3)
KEEP: Final = 3

URIS: Final = tuple(f"{folder}{letter}.md" for folder in ("", "folder/") for letter in "abcde")
ACLS: Final = (EVERYBODY, frozenset({"staff"}), frozenset({"legal"}), frozenset({"legal", "staff"}))
CALLERS: Final[tuple[tuple[str, ...], ...]] = ((), ("staff",), ("legal", "staff"))

SEARCH: Final = hypothesis_settings(
    max_examples=EXAMPLES,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=EXAMPLES == CI_EXAMPLES,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Change:
    """A change of a document. All kinds but `write` do nothing if the document does not exist."""

    kind: Literal["write", "move", "delete", "restrict", "take down"]
    uri: Uri
    to: Uri
    text: Text
    acl: Rights


CHANGES: Final = st.builds(
    Change,
    st.sampled_from(("write", "write", "write", "move", "delete", "restrict", "take down")),
    st.sampled_from(URIS),
    st.sampled_from(URIS),
    st.integers(0, 15),
    st.sampled_from(ACLS),
)


class KnowledgeBaseMachine(RuleBasedStateMachine):
    """A knowledge base on real servers, and its model."""

    def __init__(self, installation: Installation, corpus: Corpus, limit: StepLimit, tally: Tally) -> None:
        super().__init__()
        self.installation, self.catalog, self.kb = installation, installation.catalog, corpus.name
        self.corpus, self.limit, self.model, self.tally = corpus, limit, Model(), tally
        corpus.define(keep_versions=KEEP, max_deletion_ratio=1.0, retrieval={"deadline_s": 30})
        self.chroma = DirectChroma(installation.settings.chroma_url or "")
        self._write("a.md", File(0, EVERYBODY))

    @initialize(nights=st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=3, max_size=9))
    def begin(self, nights: list[list[Change]]) -> None:
        for changes in nights:
            self.night(changes, None)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def change_documents(self, changes: list[Change]) -> None:
        files = self.model.files
        for change in changes:
            if change.kind == "write":
                self._write(change.uri, File(change.text, change.acl))
            elif change.uri not in files:
                continue
            elif change.kind == "restrict":
                self._write(change.uri, File(files[change.uri].text, change.acl))
            elif change.kind == "move" and change.to != change.uri:
                self._write(change.to, files[change.uri])
                self._delete(change.uri)
            elif change.kind == "delete" and len(files) > 1:
                self._delete(change.uri)
            elif change.kind == "take down" and change.uri in self.model.rights:
                with self.catalog.writing() as connection:
                    take_down(connection, self.kb, change.uri, "a test")
                self.model.down.add(change.uri)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=3) | st.just([]), steps=st.none() | st.integers(0, 35))
    def night(self, changes: list[Change], steps: int | None) -> None:
        self.change_documents(changes)
        target = self.model.target()
        if self._survives("night", lambda: run_night(self.installation, self.kb), steps):
            self.model.ingest()
            if target:
                self.model.finish(target)
                self.model.release(target)
            with self.catalog.reading() as connection:
                assert not target or unfinished(connection, self.kb) == []
            self._compare_chroma()
        else:
            self._follow_killed_night(target)

    @precondition(lambda self: self.model.live)
    @rule(steps=st.none() | st.integers(0, 25))
    def maintenance(self, steps: int | None) -> None:
        retiring = self.model.retiring(KEEP)
        survived = self._survives("maintenance", lambda: maintain(self.installation, self.kb), steps)
        retired = {number for number, state in self._states().items() if state == "retired"}
        if survived or retired & retiring:
            self.model.retire(retiring)
            count(self.tally, "sequences: version retired", len(retiring))
        if survived:
            check_tidiness(self.installation, self.kb)
            self._compare_chroma()

    @rule(which=st.none() | st.integers(0, 20))
    def release(self, which: int | None) -> None:
        """Promote one of the versions manually, or roll back."""
        if which is None or not self.model.state:
            self._roll_back()
            return
        version = sorted(self.model.state)[which % len(self.model.state)]
        if version in self.model.shown:
            promotion.promote(self.catalog, self.kb, version, "test", "a test")
            self.model.release(version)
            count(self.tally, "sequences: promotion")
        else:
            with pytest.raises(UnknownVersion, match="is retired"):
                promotion.promote(self.catalog, self.kb, version, "test", "a test")

    @invariant()
    def every_caller_sees_the_documents_of_the_model(self) -> None:
        assert {number: state for number, state in self._states().items() if state != "building"} == self.model.state
        with self.catalog.reading() as connection:
            assert live_version(connection, self.kb) == self.model.live
        if self.model.live is None:
            with pytest.raises(NothingReleased):
                self._search((), None)
            return
        for principals in CALLERS:
            assert self._search(principals, None) == self.model.visible(self.model.live, principals), principals
        for version in self.model.shown:
            assert self._search(CALLERS[-1], version) == self.model.visible(version, CALLERS[-1]), version
        check_segments(self.installation, self.kb)

    def _roll_back(self) -> None:
        if self.model.earlier():
            promotion.roll_back(self.catalog, self.kb, "test", "a test")
            self.model.roll_back()
            count(self.tally, "sequences: rollback")
        else:
            with pytest.raises(UnknownVersion, match="no earlier release"):
                promotion.roll_back(self.catalog, self.kb, "test", "a test")

    def _write(self, uri: Uri, file: File) -> None:
        front = "" if file.acl == EVERYBODY else f"---\nacl: [{', '.join(sorted(file.acl))}]\n---\n"
        self.corpus.write(uri, f"{front}# Page of zeta{file.text}\n\nThis page says what zeta{file.text} is.\n")
        self.model.files[uri] = file

    def _delete(self, uri: Uri) -> None:
        (self.corpus.folder / uri).unlink()
        del self.model.files[uri]

    def _survives(self, what: str, work: Callable[[], object], steps: int | None) -> bool:
        """Do this work, with a simulated death after so many steps. Return False if it died."""

        def finishes() -> bool:
            work()
            return True

        self.limit.steps = steps
        try:
            # Postgres takes a moment to notice that the previous run has died.
            wait_until(finishes, 30, f"The {what} could not start", retry_on=(BuildInProgress,))
            count(self.tally, f"sequences: {what}")
            return True
        except SimulatedCrash:
            count(self.tally, f"sequences: {what}, killed")
            return False
        finally:
            self.limit.steps = None

    def _follow_killed_night(self, target: int | None) -> None:
        """Update the model to the progress of a killed run, which must be one of the states on its way."""
        with self.catalog.reading() as connection:
            live = live_version(connection, self.kb)
            acls = {
                uri: frozenset(acl)
                for uri, acl in rows(connection, "SELECT uri, acl FROM document WHERE kb = %(kb)s", kb=self.kb)
            }
        for uri, file in self.model.files.items():
            if uri in acls:
                assert acls[uri] in (file.acl, self.model.rights.get(uri))
                self.model.rights[uri] = acls[uri]
        state = self._states().get(target or 0)
        if target and state == "building":
            self.model.building = target
        elif target and state:
            self.model.finish(target)
        assert live in (self.model.live, target)
        if live and live == target:
            self.model.release(live)

    def _search(self, principals: tuple[str, ...], version: int | None) -> set[tuple[Uri, Text]]:
        definition = self.installation.knowledge_base(self.kb)
        result = self.installation.searcher.search(definition, "page", principals, 50, version)
        assert result.degraded == ()
        return {
            (place.uri, int(number[1]))
            for passage in result.passages
            for place in passage.places
            if (number := re.search(r"what zeta(\d+) is", passage.text))
        }

    def _states(self) -> dict[int, str]:
        with self.catalog.reading() as connection:
            return dict(rows(connection, "SELECT number, state FROM version WHERE kb = %(kb)s", kb=self.kb))

    def _compare_chroma(self) -> None:
        """Assert that each collection in use has exactly the chunks that Postgres lists."""
        with self.catalog.reading() as connection:
            for segment in used_segments(connection, self.kb):
                members = rows(
                    connection, "SELECT chunk_id FROM segment_chunk WHERE segment_id = %(id)s", id=segment.id
                )
                assert set(self.chroma.vectors(segment.collection)) == {chunk for (chunk,) in members}


@pytest.mark.slow
@pytest.mark.timeout(300 + 30 * EXAMPLES)
def test_knowledge_base_agrees_with_the_model_after_any_sequence_of_events(
    settings: Settings, tmp_path: Path, tally: Tally
) -> None:
    limit, numbers = StepLimit(), counting()
    with crashing_installation(settings, limit) as installation:

        class Fresh(KnowledgeBaseMachine):
            def __init__(self) -> None:
                corpus = Corpus(tmp_path / f"documents{next(numbers)}", settings.knowledge_bases)
                super().__init__(installation, corpus, limit, tally)

        run_state_machine_as_test(Fresh, settings=SEARCH)
