"""Installations that share servers: a database is copied, and the copy and the original go on side by side."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redis
from psycopg import sql
from pydantic import SecretStr

from api.middleware.rate_limits import RateLimits
from mindset.answering.answer import collect
from mindset.answering.query import Query
from mindset.application import Installation, open_installation
from mindset.auth.caller import ANYONE
from mindset.catalog import redis_namespace
from mindset.catalog.build import Build
from mindset.catalog.installation import read_installation, renew_id
from mindset.catalog.redis_namespace import RedisNamespace
from mindset.catalog.transactions import rows, scalar
from mindset.config.settings import Settings
from mindset.errors import BuildInProgress, CopiedDatabase, MindsetError
from mindset.pipeline.maintenance import maintain
from mindset.pipeline.renewal import renew
from mindset.releases.notifications import Listener
from tests.corpus import Corpus, document, run_night
from tests.faults.chroma import DirectChroma
from tests.faults.invariants import check_segments, check_vectors
from tests.faults.simulated_crash import SimulatedCrash, StepLimit, crashing_installation
from tests.waiting import wait_until

QUESTION = "How many rooms has the bakery 3?"


@dataclass
class Site:
    """An installation with its own documents and its own definition of the knowledge base."""

    settings: Settings
    installation: Installation
    corpus: Corpus

    @property
    def name(self) -> str:
        return self.corpus.name

    def night(self) -> None:
        run_night(self.installation, self.name, allow_deletions=True)

    def maintain(self) -> None:
        with self.installation.catalog.build_lock(self.name) as lock:
            maintain(lock.build, self.installation.knowledge_base(self.name), self.installation.vectors)

    def renew(self) -> None:
        renew(self.installation.catalog, self.installation.vectors)

    def id(self) -> str:
        with self.installation.catalog.reading() as connection:
            return read_installation(connection).id

    def documents(self) -> int:
        with self.installation.catalog.reading() as connection:
            return int(scalar(connection, "SELECT count(*) FROM document"))

    def collections(self) -> set[str]:
        """Return the collections that the catalog needs."""
        with self.installation.catalog.reading() as connection:
            return {
                name
                for (name,) in rows(
                    connection,
                    """SELECT DISTINCT collection FROM segment s JOIN version_segment l ON l.segment_id = s.id
                       JOIN version v ON v.kb = l.kb AND v.number = l.number
                       WHERE s.state = 'sealed' AND v.state <> 'retired'""",
                )
            }

    def check(self) -> None:
        """Assert that the segments are intact and that searches are complete."""
        assert self.collections() <= self.installation.vectors.collections()
        check_segments(self.installation, self.name)
        check_vectors(self.installation, self.name)
        for number, file in enumerate(sorted(self.corpus.folder.glob("doc*.md"))):
            if number % 4 == 0:
                title = file.read_text().partition("\n")[0].removeprefix("# The ")
                result = self.installation.searcher.search(
                    self.installation.knowledge_base(self.name), f"How many rooms has the {title}?", ()
                )
                assert result.degraded == ()
                assert result.passages[0].place.uri == file.name


@contextmanager
def site(settings: Settings, corpus: Corpus) -> Iterator[Site]:
    with open_installation(settings) as installation:
        yield Site(settings, installation, corpus)


@contextmanager
def copied(settings: Settings, corpus: Corpus, folder: Path) -> Iterator[tuple[Settings, Corpus]]:
    """Copy the database, the documents and the definition. No connection to the database may be open."""
    assert settings.postgres_url
    server, _, original = settings.postgres_url.get_secret_value().rpartition("/")
    copy = f"copy_{uuid.uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(original))

    def create() -> bool:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(statement)
        return True

    wait_until(create, retry_on=(psycopg.errors.ObjectInUse,))  # closed connections take a moment to end
    folder.mkdir()
    definitions = folder / "knowledge_bases"
    definitions.mkdir()
    documents = Corpus(folder / "documents", definitions)
    (definitions / f"{documents.name}.yaml").unlink()
    documents.name = corpus.name
    documents.define(name=corpus.name, keep_versions=2)
    for file in corpus.folder.iterdir():
        documents.write(file.name, file.read_bytes())
    try:
        yield (
            settings.model_copy(update={"postgres_url": SecretStr(f"{server}/{copy}"), "knowledge_bases": definitions}),
            documents,
        )
    finally:
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(copy)))


Sites = tuple[Site, Site]


@pytest.fixture
def sites(settings: Settings, corpus: Corpus, tmp_path: Path) -> Iterator[Sites]:
    """An installation with two nights, and one whose database was copied from it."""
    corpus.define(keep_versions=2)
    corpus.fill(12)
    with site(settings, corpus) as original:
        original.night()
        corpus.write("doc12.md", document(12))
        original.night()
    with (
        copied(settings, corpus, tmp_path / "copy") as (copy_settings, copy_corpus),
        site(settings, corpus) as original,
        site(copy_settings, copy_corpus) as copy,
    ):
        yield original, copy


# Copies


def test_copy_changes_nothing_until_it_has_its_own_id(sites: Sites) -> None:
    original, copy = sites
    original.corpus.write("doc13.md", document(13))
    original.night()
    before, documents = original.installation.vectors.collections(), copy.documents()
    copy.corpus.write("doc20.md", document(20))
    for refused in (copy.night, copy.maintain):
        with pytest.raises(CopiedDatabase, match=r"installation renew.*installation keep"):
            refused()
    build = Build(copy.installation.catalog, copy.name, 1)
    with pytest.raises(CopiedDatabase):  # without the lock too
        maintain(build, copy.installation.knowledge_base(copy.name), copy.installation.vectors)
    assert original.installation.vectors.collections() == before
    assert copy.documents() == documents, "it is refused before it does any work"
    assert copy.installation.answering.search(query(copy)).degraded == ()
    original.check()


def test_renewed_copy_and_its_original_do_not_drop_each_others_collections(sites: Sites) -> None:
    original, copy = sites
    shared = original.collections()
    copy.renew()
    assert copy.id() != original.id()
    assert not copy.collections() & shared
    for one in (copy, original):
        for number in range(20, 25):
            one.corpus.write(f"doc{number}.md", document(number))
            one.night()
        one.maintain()
        original.check()
        copy.check()
    assert not copy.collections() & original.collections()


@pytest.mark.parametrize("seed", range(3))
def test_original_and_copy_stay_intact_through_random_work(sites: Sites, seed: int) -> None:
    original, copy = sites
    chance = random.Random(seed)
    copy.renew()
    for _ in range(10):
        one = chance.choice(sites)
        match chance.choice(["add", "add", "change", "remove", "maintain", "renew"]):
            case "add":
                number = chance.randrange(100, 1000)
                one.corpus.write(f"doc{number}.md", document(number))
                one.night()
            case "change":
                file = chance.choice(sorted(one.corpus.folder.iterdir()))
                file.write_text(f"{file.read_text()}\n## Part {chance.random()}\n\nThis part is new.\n")
                one.night()
            case "remove":
                chance.choice(sorted(one.corpus.folder.iterdir())).unlink()
                one.night()
            case "maintain":
                one.maintain()
            case "renew":
                one.renew()
        original.check()
        copy.check()
    assert not copy.collections() & original.collections()


def test_kept_database_continues_with_the_id_and_the_collections_of_the_original(sites: Sites) -> None:
    original, moved = sites
    command(moved.settings, "keep", "--yes")
    assert moved.id() == original.id()
    assert moved.collections() == original.collections()
    moved.corpus.write("doc13.md", document(13))
    moved.night()
    moved.maintain()
    moved.check()
    assert {name for name in moved.installation.vectors.collections() if name.startswith(moved.id())} == (
        moved.collections()
    ), "what only the replaced database knew is dropped"


def test_copy_is_detected_by_a_role_that_may_not_identify_the_server(sites: Sites) -> None:
    role = f"role_{uuid.uuid4().hex}"
    for one, is_copy in zip(sites, (False, True), strict=True):
        assert one.settings.postgres_url
        url = one.settings.postgres_url.get_secret_value()
        with psycopg.connect(url) as connection:
            if not is_copy:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(role)))
            connection.execute(sql.SQL("GRANT SELECT ON installation TO {}").format(sql.Identifier(role)))
        as_role = f"postgresql://{role}:secret@{url.partition('@')[2]}"
        with psycopg.connect(as_role) as connection:
            assert read_installation(connection).is_copy is is_copy
        with psycopg.connect(url) as connection:
            connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        with psycopg.connect(as_role) as connection:
            assert read_installation(connection).is_copy is is_copy


# Renewing


def test_killed_renewal_is_completed_by_the_next_one(sites: Sites) -> None:
    original, copy = sites
    shared, limit = original.collections(), StepLimit()
    ids = {copy.id()}
    remaining: list[int] = []
    with crashing_installation(copy.settings, limit) as crashing:
        while not remaining or remaining[-1]:
            limit.steps = len(remaining)  # each time it dies one step later
            try:
                assert renew(crashing.catalog, crashing.vectors).resumed
            except SimulatedCrash:
                original.check()
                copy.check()
            ids.add(copy.id())
            remaining.append(len(copy.collections() & shared))
    assert len(shared) > 1
    assert set(remaining) == set(range(len(shared) + 1)), "it died before, between and after the segments"
    assert len(ids) == 2, "the original's, and one new id"
    copy.maintain()
    own = {name for name in copy.installation.vectors.collections() if name.startswith(copy.id())}
    assert own == copy.collections(), "maintenance drops what the killed renewals left"
    original.maintain()
    original.check()
    copy.check()


def test_renewal_waits_for_no_build(sites: Sites) -> None:
    original, _ = sites
    before = original.id()
    with original.installation.catalog.build_lock(original.name), pytest.raises(BuildInProgress):
        original.renew()
    assert original.id() == before


def test_commands_show_renew_and_keep(sites: Sites) -> None:
    original, copy = sites
    shown = json.loads(command(copy.settings, "show", "--json")[1])
    assert (shown["id"], shown["is_copy"]) == (original.id(), True)
    assert "renew" in command(copy.settings, "show")[1]
    code, _, error = command(copy.settings, "renew")
    assert (code, copy.id()) == (2, original.id()), "nobody confirmed"
    assert "--yes" in error
    report = json.loads(command(copy.settings, "renew", "--yes", "--json")[1])
    assert report["installation"] == copy.id() != original.id()
    assert report["segments"] == len(copy.collections())
    assert "was not a copy" in command(copy.settings, "keep", "--yes")[1]


def command(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    assert settings.postgres_url and settings.chroma_url
    completed = subprocess.run(
        [sys.executable, "-m", "cli.app", "installation", *arguments],
        env={
            "MINDSET_POSTGRES_URL": settings.postgres_url.get_secret_value(),
            "MINDSET_CHROMA_URL": settings.chroma_url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HOME": str(settings.directory.parent),
            "COLUMNS": "500",
        },
        cwd=settings.knowledge_bases, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return completed.returncode, completed.stdout, completed.stderr


# Collections


def test_collections_of_earlier_releases_are_used_and_dropped_by_their_owner_only(
    settings: Settings, corpus: Corpus, tmp_path: Path
) -> None:
    corpus.define(keep_versions=2)
    corpus.fill(6)
    with site(settings, corpus) as original:
        original.night()
        legacy = with_earlier_name(original)
        stranger = f"{corpus.name}-{uuid.uuid4()}"
        list(original.installation.vectors.write(stranger, [(["a"], np.eye(1, 256, dtype=np.float32))]))
        original.maintain()
        original.check()
    with (
        copied(settings, corpus, tmp_path / "copy") as (copy_settings, copy_corpus),
        site(settings, corpus) as original,
        site(copy_settings, copy_corpus) as copy,
    ):
        copy.renew()
        for number in range(20, 24):
            copy.corpus.write(f"doc{number}.md", document(number, sections=12))
            copy.night()
        copy.maintain()
        assert {legacy, stranger} <= original.installation.vectors.collections()
        original.check()
        for file in original.corpus.folder.iterdir():
            file.write_text(file.read_text().replace("says", "states").replace("This page", "This text"))
        for number in range(3):
            original.corpus.write(f"doc{number + 30}.md", document(number + 30))
            original.night()
        original.maintain()
        assert legacy not in original.installation.vectors.collections()
        assert stranger in original.installation.vectors.collections()
        original.check()
        copy.check()


def test_damaged_collection_of_an_earlier_release_is_rebuilt_under_a_new_name(sites: Sites) -> None:
    original, _ = sites
    legacy = with_earlier_name(original)
    DirectChroma(original.settings.chroma_url or "").damage(legacy, "lose chunks")
    original.maintain()
    assert legacy not in original.installation.vectors.collections()
    assert all(name.startswith(f"{original.id()}-{original.name}-") for name in original.collections())
    original.check()


def with_earlier_name(one: Site) -> str:
    """Move a segment to a collection named as earlier releases did, and return the name."""
    catalog, vectors = one.installation.catalog, one.installation.vectors
    legacy = f"{one.name}-{uuid.uuid4()}"
    with catalog.writing() as connection:
        segment, collection, model = rows(
            connection, "SELECT id, collection, model FROM segment WHERE state = 'sealed' ORDER BY id LIMIT 1"
        )[0]
        members = rows(
            connection,
            """SELECT e.chunk_id, e.vector FROM segment_chunk s JOIN embedding e USING (chunk_id)
               WHERE s.segment_id = %(segment)s AND e.model = %(model)s""",
            segment=segment,
            model=model,
        )
        found = np.array([np.frombuffer(vector, dtype="<f4") for _, vector in members], dtype=np.float32)
        list(vectors.write(legacy, [([chunk for chunk, _ in members], found)]))
        connection.execute("UPDATE segment SET collection = %s WHERE id = %s", [legacy, segment])
    vectors.drop(collection)
    return legacy


def test_longest_name_of_a_knowledge_base_is_accepted_by_chroma(settings: Settings, corpus: Corpus) -> None:
    corpus.name = f"k{uuid.uuid4().hex}-longer"
    corpus.define(name=corpus.name)
    assert len(corpus.name) == 40
    corpus.fill(3)
    with site(settings, corpus) as one:
        one.night()
        one.check()


# Redis


def query(one: Site) -> Query:
    return Query(one.installation.knowledge_base(one.name), QUESTION, ANYONE)


@pytest.mark.parametrize("renewed", [False, True])
def test_copy_shares_nothing_in_redis_with_its_original(sites: Sites, renewed: bool) -> None:
    original, copy = sites
    if renewed:
        copy.renew()
    for one in sites:  # same knowledge base, version, release, rights and question
        assert not collect(one.installation.answering.answer(query(one)))[0].cached
        assert collect(one.installation.answering.answer(query(one)))[0].cached
    conversation = original.installation.conversations.append(None, original.name, ANYONE, QUESTION).result()
    assert conversation
    with pytest.raises(MindsetError, match="does not exist"):
        copy.installation.conversations.previous_questions(conversation, copy.name, ANYONE)
    caller = uuid.uuid4().hex
    for one in sites:
        limited = one.settings.model_copy(
            update={"api_access": "required", "api_key_pepper": SecretStr("p" * 40), "rate_limit": "5/minute"}
        )
        assert RateLimits(limited, one.installation.redis).count(caller, "10.0.0.1").quotas[0].remaining == 4


def test_release_notifications_reach_only_the_own_installation(sites: Sites) -> None:
    received: list[set[int]] = [set(), set()]
    listeners = []
    for one, versions in zip(sites, received, strict=True):
        assert one.installation.redis
        listeners.append(Listener(one.installation.redis, partial(add_version, versions)))

    def published() -> bool:
        for version, one in enumerate(sites, start=1):
            one.installation.publish_release(one.name, version)
        return all(received)

    try:
        wait_until(published)
    finally:
        for listener in listeners:
            listener.close()
    assert received == [{1}, {2}]


def add_version(versions: set[int], _kb: str, version: int) -> None:
    versions.add(version)


def test_process_that_runs_on_uses_the_renewed_id(sites: Sites) -> None:
    """The API of a copy of a whole server cannot tell that it is a copy. Its cache is separate once the id is renewed."""
    original, _ = sites
    search = partial(original.installation.answering.search, query(original))
    assert (search().cached, search().cached) == (False, True)
    with open_installation(original.settings) as other_process:
        renew(other_process.catalog, other_process.vectors)
    assert (search().cached, search().cached) == (False, True)
    assert search().degraded == ()
    namespace = RedisNamespace(original.installation.catalog)
    assert namespace() == original.id()


def test_namespace_follows_a_new_id_and_survives_an_outage_of_postgres(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_namespace, "_REFRESH_S", 0.0)
    namespace = RedisNamespace(installation.catalog)
    first = namespace()
    with installation.catalog.writing() as connection:
        second = renew_id(connection)
    assert first != second
    # A read that Postgres does not finish in time keeps the previous one for a second.
    wait_until(lambda: namespace() == second)
    installation.catalog.close()
    assert namespace() == second
    assert RedisNamespace(installation.catalog)() is None


def test_every_key_and_channel_is_in_the_namespace(sites: Sites) -> None:
    """Redis itself rejects all others here, by the permissions of its user."""
    original, _ = sites
    assert original.settings.redis_url
    url = original.settings.redis_url.get_secret_value()
    user, prefix = f"user-{uuid.uuid4().hex}", f"mindset:{original.id()}:*"
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("ACL", "SETUSER", user, "on", ">secret", f"~{prefix}", f"&{prefix}", "+@all")
        try:
            limited = original.settings.model_copy(
                update={
                    "redis_url": SecretStr(f"redis://{user}:secret@{url.rpartition('@')[2].removeprefix('redis://')}")
                }
            )
            with site(limited, original.corpus) as one:
                use_redis(one)
            denied = [entry for entry in admin.acl_log() if entry["username"] == user]
            assert denied == []
        finally:
            admin.execute_command("ACL", "DELUSER", user)


def use_redis(one: Site) -> None:
    """Use everything that is stored in Redis."""
    question = query(one)
    collect(one.installation.answering.answer(question))
    assert collect(one.installation.answering.answer(question))[0].cached
    conversation = one.installation.conversations.append(None, one.name, ANYONE, QUESTION).result()
    assert conversation
    assert one.installation.conversations.previous_questions(conversation, one.name, ANYONE) == (QUESTION,)
    limits = RateLimits(one.settings.model_copy(update={"rate_limit_address": "5/minute"}), one.installation.redis)
    assert [limits.count("a", "10.0.0.9").quotas[0].remaining for _ in range(2)] == [4, 3]
    limits.count_rejection("mk_", "10.0.0.9")
    received: list[int] = []
    assert one.installation.redis
    listener = Listener(one.installation.redis, lambda _, version: received.append(version))

    def published() -> bool:
        one.installation.publish_release(one.name, 7)
        return bool(received)

    try:
        wait_until(published)
    finally:
        listener.close()
