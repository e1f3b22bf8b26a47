"""Cancel requests while they wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mindset.providers.deadline import Deadline
from tests.waiting import wait_until


class ObservedDeadline(Deadline):
    """A deadline that counts its sleeps, so that a test can cancel it during one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.sleeps = 0

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        super().sleep(seconds)


@contextmanager
def cancelled_when(deadline: Deadline, condition: Callable[[], object]) -> Iterator[None]:
    """Cancel the deadline from another thread as soon as the condition holds."""

    def cancel() -> None:
        wait_until(lambda: bool(condition()))
        deadline.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    yield
    thread.join()
