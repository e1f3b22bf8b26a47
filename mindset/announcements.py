"""What went live, told at once to who listens. Nobody depends on it: each question asks Postgres what is live."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import structlog

from mindset.valkey import Valkey

_log = structlog.get_logger()

_CHANNEL = "mindset:releases"
_AGAIN_S = 2.0


def announce(valkey: Valkey | None, kb: str, version: int) -> None:
    """Tell that a version is live now."""
    if valkey:
        valkey.ask(lambda client: client.publish(_CHANNEL, json.dumps([kb, version])))


class Listener:
    """Calls `heard` with a knowledge base and a version, in a thread of its own. Close it by `close`."""

    def __init__(self, valkey: Valkey, heard: Callable[[str, int], None]) -> None:
        self._valkey, self._heard = valkey, heard
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="announcements", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._thread.join(3)

    def _listen(self) -> None:
        while not self._closing.is_set():
            for said in self._valkey.listen(_CHANNEL):
                if self._closing.is_set():
                    return
                if said is not None:
                    self._hear(said)
            self._closing.wait(_AGAIN_S)

    def _hear(self, said: bytes) -> None:
        try:
            kb, version = json.loads(said)
            self._heard(str(kb), int(version))
        except (ValueError, TypeError):
            _log.warning("an announcement that is none")
        except Exception:  # noqa: BLE001  # whatever fails to open a model must not end the listening
            _log.exception("an announcement could not be followed")
