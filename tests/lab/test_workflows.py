"""The files that other services read: workflows, the devcontainer, Binder's folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def targets(command: str) -> list[str]:
    """The names after `make` in a command line."""
    return re.findall(r"\bmake ([a-z-]+)", command)


@pytest.mark.skipif(not shutil.which("actionlint"), reason="no actionlint on PATH, so only what we know is checked")
def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(["actionlint", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_supported_python_runs_on_both_providers() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert minimum == f">={matrix['python'][0]}" and matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert matrix["provider"] == ["embedded", "kind"]


def test_workflows_call_what_there_is() -> None:
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step]
    assert {target for command in commands for target in targets(command)} <= set(known)
    for command in commands:
        if module := re.search(r"python -m (\S+)", command):
            assert (ROOT / module[1].replace(".", "/")).is_dir(), command
        if (word := command.split()[0]).startswith(".ci/"):
            assert (ROOT / word).is_file()


def test_the_devcontainer_has_docker_inside_and_sets_up_the_workbook() -> None:
    found = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert any("/docker-in-docker:" in feature for feature in found["features"])
    assert targets(found["postCreateCommand"]) == ["setup"]
    assert [path.name for path in (ROOT / ".devcontainer").iterdir()] == ["devcontainer.json"]


def test_binder_opens_the_first_notebook_and_starts_at_once() -> None:
    address = re.search(r"https://mybinder\.org/v2/\S+urlpath=lab/tree/([^)]+)\)", (ROOT / "README.md").read_text())
    assert address and (ROOT / address[1]).is_file()
    build, start = ((ROOT / "binder" / name).read_text() for name in ("postBuild", "start"))
    assert "\nset -e\n" in build and start.rstrip().endswith('exec "$@"')
