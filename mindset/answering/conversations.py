"""Conversations, stored by the service for callers that do not send earlier questions themselves."""

from __future__ import annotations

import contextvars
import json
import secrets
from concurrent.futures import Future, ThreadPoolExecutor

from mindset.auth.caller import Caller
from mindset.errors import RequestRejected
from mindset.generation.query_rewriting import MAX_PREVIOUS_QUESTIONS
from mindset.redis import RedisClient

_THREADS = 4


class Conversations:
    """Stores the questions of each conversation, which belongs to one caller and one knowledge base.

    Thread-safe. Close it with `close`."""

    def __init__(self, redis: RedisClient | None, ttl_s: int) -> None:
        self._redis, self._ttl_s = redis, ttl_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="conversation")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def previous_questions(self, conversation: str, kb: str, caller: Caller) -> tuple[str, ...] | None:
        """Return the conversation's questions, newest last; None while Redis is unavailable.

        Raises RequestRejected if the conversation does not exist, has expired, or belongs to another caller."""
        if self._redis is None or self._redis.is_down:
            return None
        name = self._name(conversation, kb, caller)
        raw = self._redis.execute(lambda client, key: client.lrange(key, 0, -1), name)
        if raw is None:
            return None
        if not raw:
            raise RequestRejected(
                f"The conversation {conversation[:64]!r} does not exist or has expired. Leave it out to start a new one."
            )
        return tuple(question.decode() for question in raw)

    def append(self, conversation: str | None, kb: str, caller: Caller, question: str) -> Future[str | None]:
        """Append a question to a conversation, or to a new one, while its answer is being written.

        The result is the conversation's id, or None if it could not be stored."""
        if self._redis is None:
            unavailable: Future[str | None] = Future()
            unavailable.set_result(None)
            return unavailable
        context = contextvars.copy_context()  # keeps the request's trace
        return self._threads.submit(context.run, self._append, self._redis, conversation, kb, caller, question)

    def _append(
        self, redis: RedisClient, conversation: str | None, kb: str, caller: Caller, question: str
    ) -> str | None:
        id_ = conversation or secrets.token_urlsafe(24)

        def append(client: object, key: str) -> bool:
            pipeline = client.pipeline()  # type: ignore[attr-defined]  # redis-py's types are incomplete
            pipeline.rpush(key, question)
            pipeline.ltrim(key, -MAX_PREVIOUS_QUESTIONS, -1)
            pipeline.expire(key, self._ttl_s)
            pipeline.execute()
            return True

        return id_ if redis.execute(append, self._name(id_, kb, caller)) else None

    @staticmethod
    def _name(conversation: str, kb: str, caller: Caller) -> str:
        return f"questions:{json.dumps([conversation, kb, caller.name])}"
