"""All blocks in one place, for `prefect block register -m blocks.registry`; flows import the few that they need."""

from blocks.bedrock import BedrockService
from blocks.chroma import ChromaStore
from blocks.nim import NimService
from blocks.object_store import ObjectStore
from blocks.postgres import PostgresCatalog
from blocks.redis import RedisStore

__all__ = ["BedrockService", "ChromaStore", "NimService", "ObjectStore", "PostgresCatalog", "RedisStore"]
