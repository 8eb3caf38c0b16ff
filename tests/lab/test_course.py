"""The learner's copy of the workbook: nothing of the learner's is ever lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from k8sext import course, files
from k8sext.cluster.errors import ClusterError


@pytest.fixture
def workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small workbook in place of the real one."""
    folder = tmp_path / "workbook"
    for name in ("notebooks/00.ipynb", "notebooks/01.ipynb", "manifests/a/b.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"first {name}")
    monkeypatch.setattr(course, "INSTALLED", folder)
    return folder


def test_the_real_workbook_is_found_and_copied(tmp_path: Path) -> None:
    copied = course.copy_to(tmp_path)
    assert (tmp_path / "notebooks" / course.FIRST_NOTEBOOK).is_file()
    assert (tmp_path / "manifests" / "operators" / "operator.yaml").is_file()
    assert str(copied) == f"{len(copied.new)} files new"
    assert str(course.copy_to(tmp_path)) == "all files up to date"


def test_what_was_changed_is_left_alone_and_the_rest_brought_up_to_date(workbook: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    course.copy_to(mine)
    (mine / "notebooks" / "00.ipynb").write_text("my answer")
    for name in ("00.ipynb", "01.ipynb"):
        (workbook / "notebooks" / name).write_text("second")
    (workbook / "notebooks" / "02.ipynb").write_text("second")
    copied = course.copy_to(mine)
    assert copied == course.Copied(["notebooks/02.ipynb"], ["notebooks/01.ipynb"], ["notebooks/00.ipynb"])
    assert str(copied) == (
        "1 files new, 1 files brought up to date, 1 that you changed left alone though there is a newer one (00.ipynb)"
    )
    assert (mine / "notebooks" / "00.ipynb").read_text() == "my answer"
    assert course.copy_to(mine).kept == ["notebooks/00.ipynb"]


def notebook(*texts: str, outputs: str = "") -> str:
    cells = [{"cell_type": "code", "source": [text], "outputs": [outputs]} for text in texts]
    return json.dumps({"cells": cells, "metadata": {"run": outputs}})


def test_a_notebook_that_was_only_run_is_not_changed_by_that(workbook: Path, tmp_path: Path) -> None:
    mine, name = tmp_path / "mine", "notebooks/00.ipynb"
    (workbook / name).write_text(notebook("a", "b"))
    course.copy_to(mine)
    (mine / name).write_text(notebook("a", "b", outputs="of this evening"))
    assert str(course.copy_to(mine)) == "all files up to date"
    assert "of this evening" in (mine / name).read_text()
    (workbook / name).write_text(notebook("a", "b", "c"))
    assert course.copy_to(mine).updated == [name]
    assert (mine / name).read_text() == notebook("a", "b", "c")
    (mine / name).write_text(notebook("a", "my answer", "c"))
    assert str(course.copy_to(mine)) == "all files up to date"  # the workbook's has not changed
    (workbook / name).write_text(notebook("a", "b", "c", "d"))
    assert course.copy_to(mine).kept == [name]


def test_a_notebook_is_put_back_and_what_stood_there_is_kept(workbook: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    course.copy_to(mine)
    for name in ("00", "01"):
        (mine / "notebooks" / f"{name}.ipynb").write_text("my answer")
    assert course.reset(mine, ["00"]) == ["notebooks/00.ipynb"]
    assert (mine / "notebooks" / "00.ipynb").read_text() == "first notebooks/00.ipynb"
    (kept,) = (mine / "kept").glob("*/notebooks/00.ipynb")
    assert kept.read_text() == "my answer"
    assert course.reset(mine, ["00"]) == []
    assert course.reset(mine, ()) == ["notebooks/01.ipynb"]
    with pytest.raises(ClusterError, match="No notebook begins with '7'"):
        course.reset(mine, ["7"])
    with pytest.raises(ClusterError, match="is no copy of the notebooks"):
        course.reset(tmp_path, ())


def test_the_copy_is_found_from_within_it_and_else_stands_where_git_does_not_look(
    workbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    course.copy_to(mine)
    for folder in (mine, mine / "notebooks"):
        monkeypatch.chdir(folder)
        assert course.own_copy() == mine
    monkeypatch.chdir(tmp_path)
    assert course.own_copy() == Path.home() / "k8sext-workbook"
    monkeypatch.setattr(course, "INSTALLED", tmp_path / "none")
    assert course.own_copy() == course.CHECKOUT / "work"
    ignored = subprocess.run(["git", "check-ignore", "-q", "work/notebooks/00.ipynb"], cwd=course.CHECKOUT)
    assert ignored.returncode == 0


def test_a_file_that_was_there_before_is_not_overwritten(workbook: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "notebooks"
    mine.mkdir(parents=True)
    (mine / "00.ipynb").write_text("my own")
    assert course.copy_to(mine.parent).kept == ["notebooks/00.ipynb"]
    assert (mine / "00.ipynb").read_text() == "my own"


@pytest.mark.parametrize("record", ["", "{", "[1]", "7", '{"notebooks/01.ipynb": 3}'])
def test_with_a_broken_record_nothing_is_overwritten(workbook: Path, tmp_path: Path, record: str) -> None:
    mine = tmp_path / "mine"
    course.copy_to(mine)
    (mine / course.RECORD).write_text(record)
    (workbook / "notebooks" / "01.ipynb").write_text("second")
    assert course.copy_to(mine).kept == ["notebooks/01.ipynb"]


def test_killed_at_any_write_it_can_be_called_again(
    workbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    for count in range(4):
        mine, writes, real = tmp_path / f"mine-{count}", iter(range(count)), files.replace

        def write(target: Path, content: str | bytes, writes=writes, real=real) -> None:
            if next(writes, None) is None:
                raise Killed
            real(target, content)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(files, "replace", write)
            course.copy_to(mine)
        course.copy_to(mine)
        (workbook / "notebooks" / "00.ipynb").write_text(f"new {count}")
        assert course.copy_to(mine).updated == ["notebooks/00.ipynb"]


def test_a_folder_that_cannot_be_made_is_one_sentence(workbook: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match=r"cannot be copied to .*file/below: Not a directory\. Name another folder"):
        course.copy_to(tmp_path / "file" / "below")
