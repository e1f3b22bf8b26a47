"""Questions asked all the time, and a check of their history against that of the releases."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mindset.catalog.releases import list_releases
from mindset.errors import MindsetError, ServiceUnavailable
from mindset.installation import Installation

# A release ends when its successor's transaction commits; the row holds the moment that transaction began.
_COMMIT_S = 0.5


@dataclass
class Asker:
    """Asks in a thread; while servers are down it may be refused, with the error made for that and no other."""

    installation: Installation
    kb: str
    question: str
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    refused: int = 0
    wrong: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(30)

    def check(self) -> None:
        """Assert that each answer names one version, which was live at some moment between question and answer."""
        assert self.wrong == []
        assert self.answers
        with self.installation.catalog.reading() as connection:
            history = [each for each in list_releases(connection, self.kb, 10_000) if each.channel == "live"]
        for asked, answered, version in self.answers:
            assert any(
                each.version == version
                and each.since.timestamp() <= answered
                and (each.until is None or each.until.timestamp() + _COMMIT_S >= asked)
                for each in history
            ), f"version {version} was not live between {asked} and {answered}"

    def _ask(self) -> None:
        definition = self.installation.knowledge_base(self.kb)
        while not self._over.wait(0.02):
            asked = time.time()
            try:
                found = self.installation.searcher.search(definition, self.question, [])
            except ServiceUnavailable:
                self.refused += 1
            except MindsetError as wrong:
                self.wrong.append(wrong)
            except Exception as wrong:  # noqa: BLE001  # whatever else comes is what this test looks for
                self.wrong.append(wrong)
            else:
                self.answers.append((asked, time.time(), found.version))
                if not found.passages:
                    self.wrong.append(AssertionError("an answer without passages"))
