"""All blocks, for `prefect block register -m blocks.registry`. Flows import only those that a run names."""

from blocks.bedrock import BedrockService
from blocks.chroma import ChromaStore
from blocks.nim import NimService
from blocks.postgres import PostgresCatalog
from blocks.redis import RedisStore

__all__ = ["BedrockService", "ChromaStore", "NimService", "PostgresCatalog", "RedisStore"]
