"""Conversations that the service remembers for a while, for callers that do not send them along."""

from __future__ import annotations

import json
import secrets

from mindset.access.caller import Caller
from mindset.errors import RequestRejected
from mindset.generation.conversation import MOST_TURNS, Turn
from mindset.valkey import Valkey

_LONGEST_ANSWER = 4_000


class Sessions:
    """Thread-safe. A conversation belongs to one caller and one knowledge base."""

    def __init__(self, valkey: Valkey | None, ttl_s: int) -> None:
        self._valkey, self._ttl_s = valkey, ttl_s

    def turns(self, conversation: str, kb: str, caller: Caller) -> tuple[Turn, ...] | None:
        """What was said in it; None where that cannot be told now.

        Raises RequestRejected where there is none, it is over, or it is another's."""
        if self._valkey is None or self._valkey.is_down:
            return None
        raw = self._valkey.ask(lambda client: client.lrange(self._key(conversation, kb, caller), 0, -1))
        if raw is None:
            return None
        if not raw:
            raise RequestRejected(
                f"There is no conversation {conversation[:64]!r}, or it is over. Leave it out to begin a new one."
            )
        return tuple(Turn(*json.loads(each)) for each in raw)

    def append(self, conversation: str | None, kb: str, caller: Caller, turn: Turn) -> str | None:
        """Add a turn to a conversation, or to a new one; its id, None where it cannot be kept now."""
        if self._valkey is None:
            return None
        id_ = conversation or secrets.token_urlsafe(24)
        key = self._key(id_, kb, caller)
        said = json.dumps([turn.question, turn.answer[:_LONGEST_ANSWER]])

        def kept(client: object) -> bool:
            pipeline = client.pipeline()  # type: ignore[attr-defined]  # redis-py's types say less than it does
            pipeline.rpush(key, said)
            pipeline.ltrim(key, -MOST_TURNS, -1)
            pipeline.expire(key, self._ttl_s)
            pipeline.execute()
            return True

        return id_ if self._valkey.ask(kept) else None

    @staticmethod
    def _key(conversation: str, kb: str, caller: Caller) -> str:
        return f"mindset:conversation:{json.dumps([conversation, kb, caller.name])}"
