"""Prefect blocks: typed connections and credentials, each able to test itself and to build its domain object.

Register them with `prefect block register -m blocks`."""

from blocks.bedrock import BedrockService
from blocks.chroma import ChromaStore
from blocks.nim import NimService
from blocks.objects import ObjectStore
from blocks.postgres import PostgresCatalog
from blocks.redis import RedisStore

__all__ = ["BedrockService", "ChromaStore", "NimService", "ObjectStore", "PostgresCatalog", "RedisStore"]
