"""An installation: its settings, and the stores and models they lead to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from mindset.access.authentication import Authentication
from mindset.access.secrets import Secret
from mindset.announcements import announce
from mindset.cache import Cache
from mindset.catalog.connection import Catalog
from mindset.errors import ConfigurationError, MindsetError
from mindset.generation.answers import Answer
from mindset.generation.judge import Judge
from mindset.generation.registry import Generators
from mindset.generation.route import Route
from mindset.index.chroma import ChromaIndex
from mindset.knowledge_base import KnowledgeBase, load_knowledge_base
from mindset.retrieval.search import Found, Searcher
from mindset.sessions import Sessions
from mindset.settings import Settings
from mindset.valkey import Valkey

if TYPE_CHECKING:
    from mindset.guardrails.bedrock import BedrockGuardrail

_log = structlog.get_logger()


@dataclass(frozen=True)
class Answered:
    """An answer, and what was found for it."""

    found: Found
    answer: Answer


class Installation:
    """What flows, API and command line work with; thread-safe. Made by `open_installation`."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self._definitions: dict[str, tuple[int, KnowledgeBase]] = {}
        self._guardrails: dict[tuple[str, str], BedrockGuardrail] = {}
        self._opening = threading.Lock()

    @cached_property
    def vectors(self) -> ChromaIndex:
        """The vector index; connects at its first use."""
        return ChromaIndex(address(self.settings.chroma_url, "chroma_url"))

    @cached_property
    def searcher(self) -> Searcher:
        """Search over all knowledge bases."""
        return Searcher(self.catalog, self.vectors, self.settings)

    def knowledge_base(self, name: str) -> KnowledgeBase:
        """A definition, read again when its file changed; one that turned wrong is used as it was, and logged.

        Raises UnknownKnowledgeBase, and ConfigurationError where it was never right in this process."""
        known = self._definitions.get(name)
        try:
            changed = (self.settings.knowledge_bases / f"{name}.yaml").stat().st_mtime_ns
        except (OSError, ValueError):
            changed = 0
        if known and known[0] == changed:
            return known[1]
        try:
            found = load_knowledge_base(name, self.settings.knowledge_bases)
        except ConfigurationError as wrong:
            if known is None:
                raise
            # Somebody is editing the file: what is asked meanwhile is answered by the definition that was right.
            _log.error("definition turned wrong, the one before stays in use", kb=name, error=str(wrong))
            found = known[1]
        self._definitions[name] = (changed, found)
        return found

    def knowledge_bases(self) -> list[KnowledgeBase]:
        """All definitions that can be used; those that cannot are logged."""
        found = []
        for file in sorted(self.settings.knowledge_bases.glob("*.yaml")):
            try:
                found.append(self.knowledge_base(file.stem))
            except MindsetError as wrong:
                _log.error("definition cannot be used", kb=file.stem, error=str(wrong))
        return found

    @cached_property
    def valkey(self) -> Valkey | None:
        """Redis or Valkey; None where none is set up."""
        return Valkey(address(self.settings.redis_url, "redis_url")) if self.settings.redis_url else None

    @cached_property
    def found(self) -> Cache[Found]:
        """Searches that were made before."""
        return Cache("found", Found, self.valkey, self.settings.cache_ttl_s)

    @cached_property
    def answered(self) -> Cache[Answered]:
        """Answers that were given before."""
        return Cache("answered", Answered, self.valkey, self.settings.cache_ttl_s)

    @cached_property
    def sessions(self) -> Sessions:
        """Conversations."""
        return Sessions(self.valkey, self.settings.conversation_ttl_s)

    def announce(self, kb: str, version: int) -> None:
        """Tell whoever serves it that a version is live now."""
        announce(self.valkey, kb, version)

    @cached_property
    def authentication(self) -> Authentication:
        """Who asks."""
        return Authentication(self.catalog, self.settings)

    @cached_property
    def generators(self) -> Generators:
        """Who writes answers."""
        return Generators(self.settings)

    def guardrail(self, kb: KnowledgeBase) -> BedrockGuardrail | None:
        """The guardrail that the knowledge base names, opened at its first use."""
        named = kb.guardrails
        if named.bedrock is None:
            return None
        with self._opening:
            key = (named.bedrock, named.version)
            if key not in self._guardrails:
                from mindset.guardrails.bedrock import BedrockGuardrail

                settings = self.settings
                self._guardrails[key] = BedrockGuardrail(*key, region=settings.bedrock_region, url=settings.bedrock_url)
            return self._guardrails[key]

    def generator(self, kb: KnowledgeBase, first: str | None = None) -> Route:
        """Who writes the knowledge base's answers, in the order in which they are asked; `first` before the others."""
        return self.generators.route(kb.generation, first)

    def judge(self, kb: KnowledgeBase) -> Judge | None:
        """Who judges the knowledge base's answers, where it names somebody."""
        judge = kb.guardrails.judge
        return self.generators.judge(judge, kb.generation) if judge else None

    def close(self) -> None:
        """Close what was opened."""
        if "searcher" in self.__dict__:
            self.searcher.close()
        if "sessions" in self.__dict__:
            self.sessions.close()
        if self.__dict__.get("valkey"):
            assert self.valkey
            self.valkey.close()
        if "authentication" in self.__dict__:
            self.authentication.close()
        for guardrail in self._guardrails.values():
            guardrail.close()
        if "generators" in self.__dict__:
            self.generators.close()
        if "vectors" in self.__dict__:
            self.vectors.close()


@contextmanager
def open_installation(settings: Settings) -> Iterator[Installation]:
    """An installation at the addresses of the settings, closed at the end of the block.

    Raises ConfigurationError where Postgres has no address; nothing else is reached before it is used."""
    url = address(settings.postgres_url, "postgres_url")
    with Catalog(url, settings.postgres_pool_size) as catalog:
        installation = Installation(settings, catalog)
        try:
            yield installation
        finally:
            installation.close()


def address(value: str | SecretStr | None, setting: str) -> str:
    """A setting that must be there. Raises ConfigurationError naming it."""
    if value is None:
        raise ConfigurationError(
            f"No address: MINDSET_{setting.upper()} is not set and no local stack runs. Run `mindset up`, or set it."
        )
    return Secret(f"MINDSET_{setting.upper()}", value).value() if isinstance(value, SecretStr) else value
