"""Run tests side by side, and once more alone those that failed: `python -m tests.support.side_by_side [OPTION OF
PYTEST]...`.

The second run only tells a race from a plain defect. The exit code is that of the first run.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


class Failures:
    """A pytest plugin of the process that reports: the ids of the tests that failed."""

    def __init__(self) -> None:
        self.tests: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed."""
        if report.failed and report.nodeid not in self.tests:
            self.tests.append(report.nodeid)


def main(options: list[str]) -> int:
    """Run pytest with these options, as many processes as the machine bears. Returns the exit code of that run.

    Where collection failed nothing is run again: no test has a first result. `--last-failed` would not do here: it runs
    all tests when it finds none of those that failed before.
    """
    failures = Failures()
    first = int(pytest.main(["--numprocesses=auto", "--dist=loadfile", *options], plugins=[failures]))
    if first == pytest.ExitCode.TESTS_FAILED and failures.tests:
        alone = subprocess.run([sys.executable, "-m", "pytest", *failures.tests]).returncode
        for test in failures.tests:
            print(f"failed side by side: {test}")
        said = "passed" if alone == pytest.ExitCode.OK else "failed"
        print(f"Side by side: failed. The same tests alone: {said}. The first result counts.", flush=True)
    return first


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
