"""A volume's life through the driver's three services."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.publish import mount_points
from tests.infra.csi.conftest import MEBI, Driver, Mode, capability, refused


def restore(**ids: str) -> csi.VolumeContentSource:
    """What a new volume is made from."""
    source = csi.VolumeContentSource
    if "snapshot" in ids:
        return source(snapshot=source.SnapshotSource(snapshot_id=ids["snapshot"]))
    return source(volume=source.VolumeSource(volume_id=ids["volume"]))


def snapshot(driver: Driver, name: str, volume: str) -> csi.Snapshot:
    return driver.controller.CreateSnapshot(csi.CreateSnapshotRequest(name=name, source_volume_id=volume)).snapshot


def test_a_volume_holds_files_from_publication_to_deletion(driver: Driver) -> None:
    volume = driver.create("v")
    driver.stage(volume.volume_id)
    path = driver.place(volume.volume_id)
    (path / "file").write_text("content")
    driver.take_back(volume.volume_id, "a")
    assert not os.path.lexists(path)
    driver.stage(volume.volume_id)
    assert (driver.place(volume.volume_id, "b") / "file").read_text() == "content"
    driver.take_back(volume.volume_id, "b")
    driver.delete(volume.volume_id)
    assert driver.ids() == [] and [*(driver.data / "volumes").iterdir()] == []


def test_whatever_is_asked_twice_is_done_once(driver: Driver) -> None:
    volume = driver.create("v")
    assert driver.create("v") == volume
    for _ in range(2):
        driver.stage(volume.volume_id)
        driver.place(volume.volume_id)
    assert driver.ids() == [volume.volume_id]
    for _ in range(2):
        driver.take_back(volume.volume_id, "a")
    for _ in range(2):
        driver.delete(volume.volume_id)


def test_a_name_stands_for_one_volume(driver: Driver) -> None:
    driver.create("v", MEBI)
    with refused(StatusCode.ALREADY_EXISTS, "a volume 'v' of 1048576 bytes exists"):
        driver.create("v", 2 * MEBI)


def test_a_volume_in_use_is_not_deleted(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    path = driver.place(id)
    with refused(StatusCode.FAILED_PRECONDITION, f"in use at {path}"):
        driver.delete(id)
    path.unlink()  # the node was wiped: nobody will ever unpublish it
    driver.delete(id)


def test_a_snapshot_keeps_what_was_and_a_clone_goes_its_own_way(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    file = driver.place(id) / "file"
    file.write_text("before")
    (file.parent / "link").symlink_to("file")
    kept = snapshot(driver, "s", id)
    file.write_text("after")
    assert snapshot(driver, "s", id) == kept and kept.ready_to_use
    restored = driver.create("r", volume_content_source=restore(snapshot=kept.snapshot_id))
    clone = driver.create("c", volume_content_source=restore(volume=id))
    found = {}
    for volume in (restored, clone):
        driver.stage(volume.volume_id)
        found[volume.volume_id] = (driver.place(volume.volume_id, volume.volume_id) / "link").read_text()
    assert found == {restored.volume_id: "before", clone.volume_id: "after"}
    assert restored.content_source.snapshot.snapshot_id == kept.snapshot_id


def test_a_copy_is_not_smaller_than_its_source(driver: Driver) -> None:
    id = driver.create("v", 2 * MEBI).volume_id
    with refused(StatusCode.OUT_OF_RANGE, "less than"):
        driver.create("c", MEBI, volume_content_source=restore(volume=id))


def test_a_snapshots_name_stands_for_one_volume(driver: Driver) -> None:
    snapshot(driver, "s", driver.create("v").volume_id)
    with refused(StatusCode.ALREADY_EXISTS, "choose another name"):
        snapshot(driver, "s", driver.create("w").volume_id)


def test_a_volume_grows_and_never_shrinks(driver: Driver) -> None:
    id = driver.create("v", MEBI).volume_id
    driver.stage(id)
    path = str(driver.place(id))
    for asked, got in ((3 * MEBI, 3 * MEBI), (2 * MEBI, 3 * MEBI)):
        wanted = csi.CapacityRange(required_bytes=asked)
        answer = driver.controller.ControllerExpandVolume(
            csi.ControllerExpandVolumeRequest(volume_id=id, capacity_range=wanted)
        )
        assert (answer.capacity_bytes, answer.node_expansion_required) == (got, True)
    told = driver.node.NodeExpandVolume(csi.NodeExpandVolumeRequest(volume_id=id, volume_path=path))
    assert told.capacity_bytes == 3 * MEBI


def test_the_driver_counts_what_the_files_take(driver: Driver) -> None:
    id = driver.create("v", MEBI).volume_id
    driver.stage(id)
    path = driver.place(id)
    (path / "big").write_bytes(os.urandom(100_000))
    usage = driver.node.NodeGetVolumeStats(csi.NodeGetVolumeStatsRequest(volume_id=id, volume_path=str(path))).usage
    room, names = usage
    assert room.total == MEBI and 100_000 <= room.used <= 120_000 and room.available == MEBI - room.used
    assert names.used == 1


def test_lists_come_in_pages_that_a_deletion_does_not_upset(driver: Driver) -> None:
    ids = sorted(driver.create(f"v{n}").volume_id for n in range(5))
    first = driver.controller.ListVolumes(csi.ListVolumesRequest(max_entries=2))
    assert [entry.volume.volume_id for entry in first.entries] == ids[:2]
    driver.delete(ids[1])
    rest = driver.controller.ListVolumes(csi.ListVolumesRequest(starting_token=first.next_token))
    assert [entry.volume.volume_id for entry in rest.entries] == ids[2:] and rest.next_token == ""


def test_a_single_writer_is_alone(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    driver.place(id, "a", mode=Mode.SINGLE_NODE_SINGLE_WRITER)
    with refused(StatusCode.FAILED_PRECONDITION, "for one writer"):
        driver.place(id, "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume_capabilities": []}, "capability is missing"),
        ({"volume_capabilities": [capability(Mode.MULTI_NODE_MULTI_WRITER)]}, "on one node only"),
        ({"volume_capabilities": [csi.VolumeCapability(block=csi.VolumeCapability.BlockVolume())]}, "no block device"),
        ({"parameters": {"type": "gp3"}}, "sets type"),
        ({"name": ""}, "name is missing"),
    ],
)
def test_what_a_folder_cannot_be_is_refused_in_words(driver: Driver, change: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"name": "v", "volume_capabilities": [capability()]} | change
    with refused(StatusCode.INVALID_ARGUMENT, message):
        driver.controller.CreateVolume(csi.CreateVolumeRequest(**asked))


def test_a_volume_is_made_on_the_node_where_it_is_wanted_or_not_at_all(driver: Driver) -> None:
    there = csi.Topology(segments={"topology.csi.k8sext.dev/node": "n2"})
    with refused(StatusCode.RESOURCE_EXHAUSTED, "on node n1, and the volume is wanted on n2"):
        driver.create("v", accessibility_requirements=csi.TopologyRequirement(requisite=[there]))


def test_more_than_the_disk_holds_is_refused(driver: Driver) -> None:
    with refused(StatusCode.RESOURCE_EXHAUSTED, "are free on n1"):
        driver.create("v", 1 << 62)


def test_only_what_the_driver_placed_is_taken_away(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    (foreign := driver.targets / "foreign").symlink_to("/etc")
    (folder := driver.targets / "folder").mkdir()
    (folder / "file").write_text("mine")
    driver.take_back(id, "foreign", "folder")
    assert foreign.is_symlink() and (folder / "file").exists()
    driver.stage(id)
    with refused(StatusCode.FAILED_PRECONDITION, "did not put there"):
        driver.place(id, "folder")


def test_links_hold_wherever_the_folder_is_seen_from(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    (driver.place(id) / "file").write_text("content")
    (elsewhere := driver.folder.with_name(f"{driver.folder.name}-moved")).symlink_to(driver.folder)
    try:
        assert (elsewhere / "targets" / "a" / "file").read_text() == "content"
        assert not (driver.targets / "a").readlink().is_absolute()
    finally:
        elsewhere.unlink()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="bind mounts want root")
def test_bind_mounts_are_real_and_can_be_read_only(mounting_driver: Driver) -> None:
    driver = mounting_driver
    id = driver.create("v").volume_id
    driver.stage(id)
    path = driver.place(id, "a b")
    (path / "file").write_text("content")
    assert str(path) in mount_points()
    sealed = driver.place(id, "sealed", readonly=True)
    assert driver.place(id, "sealed", readonly=True) == sealed
    assert (sealed / "file").read_text() == "content"
    with pytest.raises(OSError, match="Read-only"):
        (sealed / "file").write_text("changed")
    driver.end(signal.SIGKILL)
    driver.start()
    driver.take_back(id, "a b", "sealed")
    assert not path.exists() and not sealed.exists()
    driver.delete(id)


def test_a_killed_driver_leaves_nothing_that_its_successor_does_not_know(driver: Driver) -> None:
    id = driver.create("v").volume_id
    driver.stage(id)
    (driver.place(id) / "file").write_text("content")
    driver.end(signal.SIGKILL)
    assert (driver.targets / "a" / "file").read_text() == "content"  # pods go on without it
    driver.start()
    driver.take_back(id, "a")
    driver.delete(id)
    assert driver.ids() == []


def test_two_drivers_do_not_share_a_folder(driver: Driver) -> None:
    words = ["--endpoint", f"unix://{driver.folder}/other.sock", "--data", str(driver.data), "--node", "n1"]
    done = run(*words)
    assert done.returncode == 1 and "another driver uses" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--endpoint", "tcp://1", "--node", "n"], "must begin with unix:///"),
        (["--endpoint", "unix:///tmp/x.sock"], "name this node"),
        (["--endpoint", f"unix:///tmp/{'x' * 120}", "--node", "n"], "longer than 107 bytes"),
        (
            ["--endpoint", "unix:///tmp/x.sock", "--node", "n", "--provision", "--kubeconfig", "/nowhere"],
            "no kubeconfig",
        ),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(tmp_path: Path, words: list[str], message: str) -> None:
    done = run("--data", str(tmp_path), *words)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "NODE_NAME"}
    command = [sys.executable, "-m", "k8sext.infra.csi", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
