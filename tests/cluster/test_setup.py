"""`make setup` on machines that lack something, `k8sext lab` without a display, and what `k8sext doctor` says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ("case $2 in *version_info*) exit 1;; esac", r"This needs Python 3.11 or newer, and \S+ is older"),
        (
            "case $2 in *ensurepip*) exit 1;; esac",
            r"comes without venv: install it \(Debian and Ubuntu: apt install python3-venv\)",
        ),
    ],
)
def test_a_python_that_will_not_do_is_one_sentence(answers: str, sentence: str, tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answers}\nexit 0\n")
    python.chmod(0o755)
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    if shutil.which("uv", path=environment["PATH"]):
        pytest.skip("uv stands where it cannot be hidden, and is used in place of venv")
    done = subprocess.run(
        ["make", "setup", f"PYTHON={python}"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert re.search(sentence, done.stdout)
    assert not (tmp_path / ".venv").exists()


@pytest.mark.cluster
def test_lab_without_a_display_prints_its_address_serves_and_ends_with_its_cluster(
    programs: object, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    where = ["--name", "lab", "--data", str(tmp_path / "lab")]
    command = [sys.executable, "-m", "k8sext", "lab", str(ROOT / "notebooks"), *where]
    lab = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert lab.stdout is not None
    try:
        address = next(
            match[0] for line in lab.stdout if (match := re.search(r"http://127\.0\.0\.1\S+token=\w+", line))
        )
        server, _, token = re.sub(r"/lab\S*\?", "/api/contents/notebooks?", address).partition("token=")

        def served() -> bool:
            try:
                answer = urllib.request.urlopen(f"{server}token={token}")
            except urllib.error.URLError:  # it prints its address a moment before it listens
                return False
            with answer:
                return "00-start-here.ipynb" in {entry["name"] for entry in json.load(answer)["content"]}

        eventually(served, within=180)
        status = subprocess.run(
            [sys.executable, "-m", "k8sext", "status", *where], capture_output=True, env=environment
        )
        assert status.returncode == 0
    finally:
        lab.send_signal(signal.SIGINT)
        lab.communicate(timeout=60)
    status = subprocess.run([sys.executable, "-m", "k8sext", "status", *where], capture_output=True, env=environment)
    assert status.returncode == 3


def test_the_doctor_looks_at_everything_and_says_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-m", "k8sext", "doctor", "-o", "json"], capture_output=True, text=True)
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["machine"]["verdict"] == "ok"
    assert {"memory", "disk", "Docker", "volumes at their place in pods"} <= set(findings)
    assert all(finding["sentence"] for finding in findings.values())


def test_the_doctor_finds_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    environment = {**os.environ, "K8SEXT_STATE": str(tmp_path / "state")}
    done = subprocess.run([sys.executable, "-m", "k8sext", "doctor"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "cannot be written" in done.stdout
