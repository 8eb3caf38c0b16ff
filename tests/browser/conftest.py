"""A JupyterLab as `k8sext lab` serves it, and the system's Chromium; skipped, loudly, where there is none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.reader import Lab

expect.set_options(timeout=90_000)  # the page's own default is for actions only; a busy machine is no failure
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)")


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> str:
    """The path of a Chromium of this machine."""
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if found:
        return found
    if request.config.getoption("--require-browser") or os.environ.get("K8SEXT_REQUIRE_BROWSER"):
        pytest.fail("a browser is required, and no Chromium is on PATH")
    pytest.skip("NO CHROMIUM ON PATH: the notebooks were not opened in a browser")


@pytest.fixture(scope="session")
def browser_type_launch_args(chromium: str) -> dict[str, object]:
    """How pytest-playwright starts the browser; a sandbox of its own is refused to root and in most containers."""
    return {"executable_path": chromium, "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]}


@pytest.fixture(scope="session")
def lab(chromium: str, programs: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab that `k8sext lab` serves with a cluster of its own."""
    workbook = tmp_path_factory.mktemp("workbook")
    root = Path(__file__).parents[2]
    for part in ("notebooks", "manifests"):
        shutil.copytree(root / part, workbook / part)
    # All cells in the page, not only those in view: what is not there cannot be looked at.
    settings = workbook / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')
    command = [sys.executable, "-m", "k8sext", "lab", str(workbook / "notebooks"), "--no-browser", "--name", "browser"]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(workbook / "config"),
        "JUPYTER_DATA_DIR": str(workbook / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(workbook / "settings"),
    }
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert server.stdout is not None
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if match := ADDRESS.search(line):
                reader = _read_on(server, said)
                yield Lab(match[0], match[1], match[2], workbook / "notebooks")
                break
        else:
            pytest.fail(f"JupyterLab did not start:\n{''.join(said)}")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)
    reader.join()
    assert not [line for line in said if "without encryption" in line], "a line that frightens and cannot be helped"
    status = subprocess.run([sys.executable, "-m", "k8sext", "status", "--name", "browser"], capture_output=True)
    assert status.returncode == 3, "Ctrl-C ends the cluster that lab started"


def _read_on(server: subprocess.Popen[str], said: list[str]) -> threading.Thread:
    """Read what the server says to the end, so that it never waits for a reader."""
    assert server.stdout is not None
    reader = threading.Thread(target=said.extend, args=(server.stdout,), daemon=True)
    reader.start()
    return reader
