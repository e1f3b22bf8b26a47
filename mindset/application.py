"""The composition root: an installation's settings, and the stores and models that they lead to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import structlog
from pydantic import SecretStr

from mindset.answering.answer import Answering, CachedAnswer
from mindset.answering.cache import Cache
from mindset.answering.conversations import Conversations
from mindset.auth.authentication import Authentication
from mindset.catalog.pool import Catalog
from mindset.catalog.redis_namespace import RedisNamespace
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.loader import load_knowledge_base
from mindset.config.secrets import Secret
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, MindsetError
from mindset.generation.registry import GeneratorRegistry
from mindset.guardrails.registry import GuardrailRegistry
from mindset.redis import RedisClient
from mindset.releases.notifications import publish_release
from mindset.retrieval.search import Searcher
from mindset.retrieval.search_request import SearchResult
from mindset.vector_index.chroma import ChromaIndex

T = TypeVar("T")

_log = structlog.get_logger()


class _opened_once(cached_property[T]):  # noqa: N801  # used as a decorator
    """A `cached_property` that is computed once even if several threads need it first; Python's own has no lock since 3.12."""

    def __get__(self, instance: Installation, owner: type[Installation] | None = None) -> T:  # type: ignore[override]
        with instance.lock:
            return super().__get__(instance, owner)


class Installation:
    """What flows, the API and the command line work with. Thread-safe. Create it with `open_installation`."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self.lock = threading.RLock()  # reentrant, because parts need others
        self._definitions: dict[str, tuple[int, KnowledgeBase]] = {}

    @_opened_once
    def vectors(self) -> ChromaIndex:
        """The vector index; it connects at its first use."""
        return ChromaIndex(require_setting(self.settings.chroma_url, "chroma_url"))

    @_opened_once
    def redis(self) -> RedisClient | None:
        """The client of Redis or Valkey; None if none is configured."""
        if self.settings.redis_url is None:
            return None
        return RedisClient(require_setting(self.settings.redis_url, "redis_url"), RedisNamespace(self.catalog))

    @_opened_once
    def searcher(self) -> Searcher:
        """Search over all knowledge bases."""
        return Searcher(self.catalog, self.vectors, self.settings)

    @_opened_once
    def generators(self) -> GeneratorRegistry:
        """The models that write answers."""
        return GeneratorRegistry(self.settings)

    @_opened_once
    def guardrails(self) -> GuardrailRegistry:
        """The guardrails that knowledge bases name."""
        return GuardrailRegistry(self.settings)

    @_opened_once
    def answering(self) -> Answering:
        """Search and answers, with their caches."""
        ttl_s = self.settings.cache_ttl_s
        return Answering(
            self.searcher,
            self.generators,
            self.guardrails,
            results=Cache("result", SearchResult, self.redis, ttl_s),
            answers=Cache("answer", CachedAnswer, self.redis, ttl_s),
        )

    @_opened_once
    def conversations(self) -> Conversations:
        """The earlier questions of each conversation."""
        return Conversations(self.redis, self.settings.conversation_ttl_s)

    @_opened_once
    def authentication(self) -> Authentication:
        """Authentication of callers."""
        return Authentication(self.catalog, self.settings)

    def publish_release(self, kb: str, version: int) -> None:
        """Notify all API processes that a version is live."""
        publish_release(self.redis, kb, version)

    def knowledge_base(self, name: str) -> KnowledgeBase:
        """Return a definition; its file is read again whenever it has changed.

        If the file has become invalid, the last valid definition stays in force and the error is logged.
        Raises UnknownKnowledgeBase, and ConfigurationError if this process never read a valid definition."""
        cached = self._definitions.get(name)
        try:
            modified = (self.settings.knowledge_bases / f"{name}.yaml").stat().st_mtime_ns
        except (OSError, ValueError):
            modified = 0
        if cached and cached[0] == modified:
            return cached[1]
        try:
            definition = load_knowledge_base(name, self.settings.knowledge_bases)
        except ConfigurationError as error:
            if cached is None:
                raise
            # Probably someone is editing the file: questions are answered with the last valid definition meanwhile.
            _log.error("definition became invalid, the previous one stays in force", kb=name, error=str(error))
            definition = cached[1]
        self._definitions[name] = (modified, definition)
        return definition

    def knowledge_bases(self) -> list[KnowledgeBase]:
        """Return all valid definitions; invalid ones are logged."""
        definitions = []
        for file in sorted(self.settings.knowledge_bases.glob("*.yaml")):
            try:
                definitions.append(self.knowledge_base(file.stem))
            except MindsetError as error:
                _log.error("definition cannot be used", kb=file.stem, error=str(error))
        return definitions

    def close(self) -> None:
        """Close everything that was opened."""
        for part in ("searcher", "conversations", "redis", "authentication", "guardrails", "generators", "vectors"):
            opened = self.__dict__.get(part)
            if opened is not None:
                opened.close()


@contextmanager
def open_installation(settings: Settings) -> Iterator[Installation]:
    """Open an installation at the addresses of the settings; it is closed at the end of the block.

    Raises ConfigurationError if Postgres has no address. Nothing is connected before its first use."""
    url = require_setting(settings.postgres_url, "postgres_url")
    with Catalog(url, settings.postgres_pool_size) as catalog:
        installation = Installation(settings, catalog)
        try:
            yield installation
        finally:
            installation.close()


def require_setting(value: str | SecretStr | None, setting: str) -> str:
    """Return the value of a setting that must be set. Raises ConfigurationError naming the variable."""
    if value is None:
        raise ConfigurationError(
            f"No address: MINDSET_{setting.upper()} is not set and no local stack is running. Run `mindset up`, or set it."
        )
    return Secret(f"MINDSET_{setting.upper()}", value).value() if isinstance(value, SecretStr) else value
