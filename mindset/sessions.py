"""Conversations that the service remembers for a while, for callers that do not send them along."""

from __future__ import annotations

import contextvars
import json
import secrets
from concurrent.futures import Future, ThreadPoolExecutor

from mindset.access.caller import Caller
from mindset.errors import RequestRejected
from mindset.generation.conversation import MOST_BEFORE
from mindset.valkey import Valkey

_THREADS = 4


class Sessions:
    """Thread-safe. A conversation belongs to one caller and one knowledge base, and holds its questions alone. Close it by
    `close`."""

    def __init__(self, valkey: Valkey | None, ttl_s: int) -> None:
        self._valkey, self._ttl_s = valkey, ttl_s
        self._appending = ThreadPoolExecutor(_THREADS, thread_name_prefix="conversation")

    def close(self) -> None:
        """End the threads."""
        self._appending.shutdown()

    def before(self, conversation: str, kb: str, caller: Caller) -> tuple[str, ...] | None:
        """What was asked in it, the newest last; None where that cannot be told now.

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
        return tuple(each.decode() for each in raw)

    def append(self, conversation: str | None, kb: str, caller: Caller, question: str) -> Future[str | None]:
        """Add a question to a conversation, or to a new one, while its answer is being written; the conversation's id, None
        where it cannot be kept."""
        if self._valkey is None:
            nowhere: Future[str | None] = Future()
            nowhere.set_result(None)
            return nowhere
        context = contextvars.copy_context()  # it belongs into the request's trace
        return self._appending.submit(context.run, self._append, self._valkey, conversation, kb, caller, question)

    def _append(self, valkey: Valkey, conversation: str | None, kb: str, caller: Caller, question: str) -> str | None:
        id_ = conversation or secrets.token_urlsafe(24)
        key = self._key(id_, kb, caller)

        def kept(client: object) -> bool:
            pipeline = client.pipeline()  # type: ignore[attr-defined]  # redis-py's types say less than it does
            pipeline.rpush(key, question)
            pipeline.ltrim(key, -MOST_BEFORE, -1)
            pipeline.expire(key, self._ttl_s)
            pipeline.execute()
            return True

        return id_ if valkey.ask(kept) else None

    @staticmethod
    def _key(conversation: str, kb: str, caller: Caller) -> str:
        return f"mindset:questions:{json.dumps([conversation, kb, caller.name])}"
