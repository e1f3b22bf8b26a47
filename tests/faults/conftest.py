"""A stack whose servers may be killed, and the summary of the kills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from local_stack.supervision import local_stack
from mindset.catalog.migrations import migrate
from mindset.config.settings import Settings
from tests.faults.kill_counts import summary, tally
from tests.faults.kills import KILLS, SEED, Servers

__all__ = ["tally"]


@pytest.fixture(scope="session")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with a Postgres and a Chroma that may be killed."""
    directory = tmp_path_factory.mktemp("killed")
    definitions = directory / "knowledge_bases"
    definitions.mkdir()
    with local_stack(directory / "stack", services=("postgres", "chroma")) as addresses:
        assert addresses.postgres_url
        migrate(addresses.postgres_url)
        yield Settings(
            directory=directory / "stack",
            knowledge_bases=definitions,
            postgres_url=SecretStr(addresses.postgres_url),
            chroma_url=addresses.chroma_url,
        )


@pytest.fixture(scope="session")
def servers(own_settings: Settings) -> Servers:
    """Kills these two servers."""
    return Servers(own_settings.directory)


def pytest_report_header() -> str:
    """Print the variables that repeat this run."""
    return f"faults: MINDSET_FAULT_KILLS={KILLS} MINDSET_FAULT_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the kills and their results."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
    ]
    tallies = [tally for report in reports for _, tally in report.user_properties if isinstance(tally, dict)]
    if lines := summary(tallies):
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(lines))
