"""Names of collections in Chroma, and which collections belong to this installation.

A name is the installation's id, the knowledge base and a random UUID. Collections of earlier releases have no id in their
names; the rows of segments say which installation created them."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from mindset.catalog.installation import ID_LENGTH, own_id
from mindset.catalog.transactions import Connection, rows, scalar

_UUID_LENGTH = len(str(uuid.UUID(int=0)))


def new_collection(connection: Connection, kb: str) -> str:
    """Return a name for a new collection. Raises CopiedDatabase."""
    return f"{own_id(connection)}-{kb}-{uuid.uuid4()}"


def creator(collection: str) -> str:
    """Return the id of the installation that created a collection, from a name that `new_collection` returned."""
    return collection[:ID_LENGTH]


def is_own_collection(connection: Connection, collection: str) -> bool:
    """Return whether this installation created a collection. Raises CopiedDatabase."""
    installation = own_id(connection)
    recorded = scalar(connection, "SELECT installation FROM segment WHERE collection = %s", collection)
    return bool(recorded == installation if recorded else collection.startswith(f"{installation}-"))


def orphaned_collections(connection: Connection, kb: str, existing: Collection[str]) -> set[str]:
    """Return those of the existing collections that this installation created for a knowledge base and no longer needs.

    Read the existing ones first: a collection is recorded before it is created. Raises CopiedDatabase."""
    installation = own_id(connection)
    recorded = {
        collection: (owner, of_kb, state)
        for collection, owner, of_kb, state in rows(
            connection,
            "SELECT collection, installation, kb, state FROM segment WHERE collection = ANY(%(existing)s)",
            existing=list(existing),
        )
    }
    dropped = {name for name, row in recorded.items() if row == (installation, kb, "dropped")}
    prefix = f"{installation}-{kb}"
    unrecorded = {name for name in set(existing) - recorded.keys() if name[: -_UUID_LENGTH - 1] == prefix}
    return dropped | unrecorded
