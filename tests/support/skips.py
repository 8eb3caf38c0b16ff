"""What is skipped in CI is held against a list, with the reason and the machine on which it runs."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

LIST = Path(__file__).parent / "skips.toml"
UNLISTED = 6
"""The exit code of a run whose only fault is a skip that is not in the list; pytest's own end at 5."""


@dataclass(frozen=True)
class Entry:
    """Tests that may be skipped for a reason, and where they run."""

    reason: str
    runs_on: str
    tests: tuple[str, ...]

    def allows(self, test: str, reason: str) -> bool:
        """Whether a test, by its id, may be skipped for a reason."""
        named = any(test == name or test.startswith((f"{name}::", f"{name}[", f"{name}/")) for name in self.tests)
        return named and self.reason in reason


def entries(path: Path = LIST) -> list[Entry]:
    """The list, read from a file."""
    listed = tomllib.loads(path.read_text())["skip"]
    return [Entry(entry["reason"], entry["runs_on"], tuple(entry["tests"])) for entry in listed]


class SkipCheck:
    """A pytest plugin of the process that reports; under xdist the workers' reports come to it."""

    def __init__(self, allowed: list[Entry]) -> None:
        self._allowed = allowed
        self._unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test."""
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a skipped file."""
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not any(entry.allows(report.nodeid, reason) for entry in self._allowed):
                self._unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run in which all else was well."""
        if self._unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = UNLISTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which skips are not in the list."""
        if self._unlisted:
            terminalreporter.section("skipped, and not in tests/support/skips.toml", red=True)
            for line in self._unlisted:
                terminalreporter.write_line(line)


def check_skips(config: pytest.Config) -> None:
    """Hold this run's skips against the list: in CI, or with --check-skips."""
    reports = not hasattr(config, "workerinput")
    if reports and (os.environ.get("CI") == "true" or config.getoption("--check-skips")):
        config.pluginmanager.register(SkipCheck(entries()), "skip-check")
