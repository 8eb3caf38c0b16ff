"""JupyterLab as a learner first sees it: the first notebook, its table of contents beside it, and no question about
news."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k8sext import course, lab
from k8sext.cluster.errors import ClusterError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K8SEXT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def notebooks(folder: Path, name: str) -> Path:
    """A folder with a first notebook."""
    (folder / name).mkdir()
    (folder / name / course.FIRST_NOTEBOOK).touch()
    return folder / name


@pytest.mark.parametrize("name", ["notebooks", "mine"])
def test_the_first_layout_has_the_first_notebook_and_its_contents(state: Path, tmp_path: Path, name: str) -> None:
    (file,) = lab._workspaces(notebooks(tmp_path, name)).iterdir()
    data = json.loads(file.read_text())["data"]
    first = f"{name}/{course.FIRST_NOTEBOOK}"
    assert data[f"notebook:{first}"]["data"]["path"] == first
    assert data["layout-restorer:data"]["main"]["current"] == f"notebook:{first}"
    assert data["layout-restorer:data"]["left"]["current"] == "@jupyterlab/toc:plugin"


def test_what_the_learner_made_of_the_layout_stays(state: Path, tmp_path: Path) -> None:
    folder = notebooks(tmp_path, "notebooks")
    (file,) = lab._workspaces(folder).iterdir()
    file.write_text("mine")
    lab._workspaces(folder)
    assert file.read_text() == "mine"


def test_notebooks_of_ones_own_begin_with_an_empty_layout(state: Path, tmp_path: Path) -> None:
    assert not lab._workspaces(tmp_path).exists()


def test_a_layout_that_cannot_be_written_is_one_sentence(state: Path, tmp_path: Path) -> None:
    state.touch()
    with pytest.raises(ClusterError, match=r"state/jupyterlab cannot be written: .*\. Name another place with K8SEXT_"):
        lab._workspaces(notebooks(tmp_path, "notebooks"))


def test_binder_takes_the_same_layout_and_settings() -> None:
    said = (ROOT / "binder" / "postBuild").read_text()
    for file in (lab.FIRST_LAYOUT, lab.SETTINGS / "labconfig" / "default_setting_overrides.json"):
        assert file.is_file() and str(file.relative_to(ROOT)) in said
