"""A cluster's files on a disk: one that is full, and logs that must not fill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8sext import cluster as clusters
from k8sext.cluster import process
from k8sext.cluster.paths import layout

SIZE = 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of fifty megabytes."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    (folder := tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "k8sext-test", str(folder)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    clusters.down(layout("one", folder / "one"))
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.cluster
def test_a_disk_with_too_little_room_is_said_at_once(programs: dict[str, Path], small_disk: Path) -> None:
    with pytest.raises(clusters.ClusterError, match=rf"^The disk that holds {small_disk}/one is full: it has \d\d MB"):
        clusters.up("one", small_disk / "one")


@pytest.mark.cluster
def test_a_disk_that_is_full_when_etcd_starts_is_one_sentence(programs: dict[str, Path], small_disk: Path) -> None:
    where = layout("one", small_disk / "one")
    where.etcd.mkdir(parents=True)  # as after an earlier start
    where.marker.touch()
    with pytest.raises(clusters.ClusterError, match=rf"^The disk that holds {small_disk}/one is full.* etcd ended"):
        clusters.up("one", small_disk / "one")


@pytest.mark.cluster
def test_the_private_api_server_says_so_too(
    programs: dict[str, Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(clusters.ClusterError, match=r"^The disk .* is full.*TMPDIR"), clusters.private_api_server():
        pytest.fail("it started")
    assert list(small_disk.iterdir()) == []


def test_a_log_that_grows_begins_anew_and_keeps_one_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 100)
    (log := tmp_path / "talker.log").touch()
    for text in ("first", "second", "third"):
        with log.open("a") as file:  # as a program that holds it open to append
            process.trim(log)
            file.write(text * 30)
            file.flush()
            process.trim(log)
            file.write(f"end of {text}\n")
    assert log.read_text() == "end of third\n"
    assert (tmp_path / "talker.log.1").read_text() == "end of second\n" + "third" * 30
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_that_is_gone_is_no_matter(tmp_path: Path) -> None:
    process.trim(tmp_path / "gone.log")


@pytest.mark.cluster
def test_the_supervisor_keeps_the_logs_of_a_running_cluster_small(
    cluster: clusters.Cluster, eventually: Callable[..., None]
) -> None:
    log = cluster.layout.logs / "kube-scheduler.log"
    with log.open("ab") as file:
        file.write(b"much to say\n" * (process.LOG_LIMIT // 12 + 1))
    eventually(lambda: log.stat().st_size < process.LOG_LIMIT)
    assert (cluster.layout.logs / "kube-scheduler.log.1").stat().st_size > process.LOG_LIMIT
