"""The composition root: an installation's settings, and the stores and models that they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import structlog
from pydantic import SecretStr

from mindset.answering.answer import Answering, CachedAnswer
from mindset.answering.cache import Cache
from mindset.answering.conversations import Conversations
from mindset.auth.authentication import Authentication
from mindset.catalog.pool import Catalog
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

_log = structlog.get_logger()


class Installation:
    """What flows, the API and the command line work with. Thread-safe. Create it with `open_installation`."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self._definitions: dict[str, tuple[int, KnowledgeBase]] = {}

    @cached_property
    def vectors(self) -> ChromaIndex:
        """The vector index; it connects at its first use."""
        return ChromaIndex(require_setting(self.settings.chroma_url, "chroma_url"))

    @cached_property
    def redis(self) -> RedisClient | None:
        """The client of Redis or Valkey; None if none is configured."""
        return RedisClient(require_setting(self.settings.redis_url, "redis_url")) if self.settings.redis_url else None

    @cached_property
    def searcher(self) -> Searcher:
        """Search over all knowledge bases."""
        return Searcher(self.catalog, self.vectors, self.settings)

    @cached_property
    def generators(self) -> GeneratorRegistry:
        """The models that write answers."""
        return GeneratorRegistry(self.settings)

    @cached_property
    def guardrails(self) -> GuardrailRegistry:
        """The guardrails that knowledge bases name."""
        return GuardrailRegistry(self.settings)

    @cached_property
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

    @cached_property
    def conversations(self) -> Conversations:
        """The earlier questions of each conversation."""
        return Conversations(self.redis, self.settings.conversation_ttl_s)

    @cached_property
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
