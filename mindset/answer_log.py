"""Answers on their way into the log: behind the answers, so that none waits for it."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from datetime import timedelta

import structlog

from mindset.catalog.answers import LoggedAnswer, forget_answers, log_answers, make_partitions
from mindset.catalog.connection import Catalog
from mindset.errors import ServiceUnavailable

_log = structlog.get_logger()

_EVERY_S = 0.05
_AGAIN_S = 1.0
_BATCH = 500
_MOST = 20_000
_TIDY_EVERY_S = 6 * 3600.0


class AnswerLog:
    """Keeps answers until they are in Postgres, 50 ms later; those of a time when it is down, up to 20,000, until it is
    back. Thread-safe. `close` writes what is left."""

    def __init__(self, catalog: Catalog, share: float = 1.0, days: int = 90) -> None:
        """`share` of the answers are kept, chosen by chance, for so many days."""
        self._catalog, self._share, self._days = catalog, share, days
        self._tidy_at = 0.0
        self._waiting: deque[LoggedAnswer] = deque()
        self._alone = 0
        self._choose = random.Random()  # noqa: S311  # nobody gains by guessing it
        self._closing = threading.Event()
        self.lost = 0
        self._writer = threading.Thread(target=self._write, name="answer log", daemon=True)
        self._writer.start()

    def add(self, answer: LoggedAnswer) -> None:
        """Log an answer, if it is among those that are."""
        if self._choose.random() >= self._share:
            return
        if len(self._waiting) >= _MOST:
            self.lost += 1
            return
        self._waiting.append(answer)

    def close(self) -> None:
        """Write what is left, for some seconds at most."""
        self._closing.set()
        self._writer.join(5)
        if self._waiting:
            _log.error("answers not logged", count=len(self._waiting))

    def _write(self) -> None:
        while not self._closing.wait(_EVERY_S):
            while self._waiting and not self._closing.is_set():
                if not self._write_batch():
                    self._closing.wait(_AGAIN_S)
            if time.monotonic() >= self._tidy_at:
                self._tidy()
        while self._waiting and self._write_batch():
            pass

    def _write_batch(self) -> bool:
        batch = [self._waiting[at] for at in range(min(len(self._waiting), 1 if self._alone else _BATCH))]
        try:
            with self._catalog.writing() as connection:
                log_answers(connection, batch)
        except ServiceUnavailable as unwritten:
            _log.warning("answer log waits", count=len(self._waiting), error=str(unwritten))
            return False
        except Exception:  # noqa: BLE001  # whatever one of them holds, the writer must live on for the others
            if len(batch) > 1:
                self._alone = len(batch)  # one of them is to blame: each is written by itself
                return True
            self.lost += 1
            _log.exception("answer not logged", answer=batch[0].id)
        for _ in batch:
            self._waiting.popleft()
        self._alone = max(self._alone - len(batch), 0)
        return True

    def _tidy(self) -> None:
        """Make the log's partitions of the coming days, and drop those that are too old."""
        try:
            with self._catalog.writing() as connection:
                forget_answers(connection, make_partitions(connection) - timedelta(days=self._days))
        except Exception as failed:  # noqa: BLE001  # a right that is missing, say: answers are logged all the same
            self._tidy_at = time.monotonic() + 60
            _log.warning("answer log not tidied", error=str(failed))
        else:
            self._tidy_at = time.monotonic() + _TIDY_EVERY_S
