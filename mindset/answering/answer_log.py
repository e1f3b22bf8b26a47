"""The answer log's writer, which runs behind the answers so that none waits for it."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from datetime import timedelta

import structlog

from mindset.catalog.answer_log import LoggedAnswer, create_partitions, drop_old_partitions, log_answers
from mindset.catalog.pool import Catalog
from mindset.errors import ServiceUnavailable

_log = structlog.get_logger()

_WRITE_INTERVAL_S = 0.05
_RETRY_DELAY_S = 1.0
_BATCH = 500
_MAX_QUEUED = 20_000
_PARTITION_INTERVAL_S = 6 * 3600.0


class AnswerLog:
    """Queues answers and writes them to Postgres 50 ms later, or, up to 20,000, once Postgres is available again.

    Thread-safe. `close` writes the rest."""

    def __init__(self, catalog: Catalog, sample_rate: float = 1.0, days: int = 90) -> None:
        """Log the fraction `sample_rate` of the answers, sampled at random, and keep them for `days` days."""
        self._catalog, self._sample_rate, self._days = catalog, sample_rate, days
        self._partitions_due_at = 0.0
        self._queue: deque[LoggedAnswer] = deque()
        self._write_singly = 0
        self._random = random.Random()  # noqa: S311  # sampling is not security-relevant
        self._closing = threading.Event()
        self.dropped = 0
        self._writer = threading.Thread(target=self._write, name="answer log", daemon=True)
        self._writer.start()

    def add(self, answer: LoggedAnswer) -> None:
        """Queue an answer if it is sampled."""
        if self._random.random() >= self._sample_rate:
            return
        if len(self._queue) >= _MAX_QUEUED:
            self.dropped += 1
            return
        self._queue.append(answer)

    def close(self) -> None:
        """Write the rest, for at most five seconds."""
        self._closing.set()
        self._writer.join(5)
        if self._queue:
            _log.error("answers not logged", count=len(self._queue))

    def _write(self) -> None:
        while not self._closing.wait(_WRITE_INTERVAL_S):
            while self._queue and not self._closing.is_set():
                if not self._write_batch():
                    self._closing.wait(_RETRY_DELAY_S)
            if time.monotonic() >= self._partitions_due_at:
                self._maintain_partitions()
        while self._queue and self._write_batch():
            pass

    def _write_batch(self) -> bool:
        batch = [self._queue[at] for at in range(min(len(self._queue), 1 if self._write_singly else _BATCH))]
        try:
            with self._catalog.writing() as connection:
                log_answers(connection, batch)
        except ServiceUnavailable as error:
            _log.warning("answer log waits for Postgres", count=len(self._queue), error=str(error))
            return False
        except Exception:  # noqa: BLE001  # an invalid answer must not stop the writer
            if len(batch) > 1:
                self._write_singly = len(batch)  # one of them is invalid: write each one separately
                return True
            self.dropped += 1
            _log.exception("answer not logged", answer=batch[0].id)
        for _ in batch:
            self._queue.popleft()
        self._write_singly = max(self._write_singly - len(batch), 0)
        return True

    def _maintain_partitions(self) -> None:
        """Create the partitions of the coming days and drop old ones."""
        try:
            with self._catalog.writing() as connection:
                drop_old_partitions(connection, create_partitions(connection) - timedelta(days=self._days))
        except Exception as error:  # noqa: BLE001  # for example a missing privilege: answers are logged nevertheless
            self._partitions_due_at = time.monotonic() + 60
            _log.warning("partitions of the answer log not maintained", error=str(error))
        else:
            self._partitions_due_at = time.monotonic() + _PARTITION_INTERVAL_S
