"""Cancel a request while it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mindset.providers.deadline import Deadline
from tests.waiting import wait_until


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
