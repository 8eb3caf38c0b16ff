"""SIGKILL between any two steps of a volume's life: the next driver goes on, and nothing is left over.

A step is whatever changes something outside the process: Python reports each to an audit hook before it happens, and
the hook kills.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.csi.controller import Controller
from k8sext.infra.csi.node import Node
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.publish import Links
from k8sext.infra.csi.state import Store
from tests.infra.csi.conftest import capability

pytestmark = pytest.mark.slow

STEPS = (
    "os.rename",
    "os.mkdir",
    "os.symlink",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "subprocess.Popen",
    "shutil.rmtree",
)
MORE_THAN_THERE_ARE = 200
SNAPSHOT = csi.VolumeContentSource.SnapshotSource


class Life:
    """A volume's life as a kubelet and a provisioner lead it: every call again from the beginning, until all have
    succeeded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = Store(folder / "data")
        self._controller, self._node = Controller(self.store, Links(), "n1"), Node(self.store, Links(), "n1")

    async def up(self) -> None:
        """From nothing to a published copy of a published volume."""
        first = await self._made("first", None)
        await self._published(first)
        (self._folder / "first" / "file").write_text("content")
        request = csi.CreateSnapshotRequest(name="s", source_volume_id=first)
        snapshot = (await self._controller.CreateSnapshot(request, None)).snapshot.snapshot_id
        source = csi.VolumeContentSource(snapshot=SNAPSHOT(snapshot_id=snapshot))
        await self._published(await self._made("second", source))
        grow = csi.ControllerExpandVolumeRequest(
            volume_id=first, capacity_range=csi.CapacityRange(required_bytes=2 << 20)
        )
        await self._controller.ControllerExpandVolume(grow, None)
        assert (self._folder / "second" / "file").read_text() == "content"

    async def down(self) -> None:
        """And back to nothing."""
        for volume in list(self.store.volumes()):
            target, staging = str(self._folder / volume.name), str(self._folder / f"{volume.name}-staging")
            taken = csi.NodeUnpublishVolumeRequest(volume_id=volume.id, target_path=target)
            await self._node.NodeUnpublishVolume(taken, None)
            left = csi.NodeUnstageVolumeRequest(volume_id=volume.id, staging_target_path=staging)
            await self._node.NodeUnstageVolume(left, None)
            await self._controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=volume.id), None)
        for snapshot in list(self.store.snapshots()):
            await self._controller.DeleteSnapshot(csi.DeleteSnapshotRequest(snapshot_id=snapshot.id), None)

    async def _made(self, name: str, source: Any) -> str:
        asked = csi.CreateVolumeRequest(name=name, volume_capabilities=[capability()], volume_content_source=source)
        return (await self._controller.CreateVolume(asked, None)).volume.volume_id

    async def _published(self, id: str) -> None:
        volume = self.store.volume(id)
        assert volume
        common = {"volume_id": id, "volume_capability": capability()}
        staging = str(self._folder / f"{volume.name}-staging")
        Path(staging).mkdir(exist_ok=True)
        await self._node.NodeStageVolume(csi.NodeStageVolumeRequest(staging_target_path=staging, **common), None)
        place = {"staging_target_path": staging, "target_path": str(self._folder / volume.name)}
        await self._node.NodePublishVolume(csi.NodePublishVolumeRequest(**place, **common), None)


def lead(folder: Path, part: Callable[[Life], Awaitable[None]]) -> None:
    async def run() -> None:
        await part(Life(folder))

    asyncio.run(run())


def die_before(step: int) -> None:
    """Let this process be killed before its step of this number."""
    taken = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal taken
        writes = event == "open" and arguments[1] is not None and set(str(arguments[1])) & set("wa+x")
        if event in STEPS or writes:
            taken += 1
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(work: Callable[[], None]) -> int:
    """Do something in a copy of this process. Returns how that ended, as os.waitpid tells."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("part", [Life.up, Life.down], ids=["up", "down"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_death_before_any_step_loses_and_leaves_nothing(
    tmp_path: Path, part: Callable[[Life], Awaitable[None]]
) -> None:
    for step in range(1, MORE_THAN_THERE_ARE):
        folder = tmp_path / str(step)
        folder.mkdir()

        def doomed(folder: Path = folder, step: int = step) -> None:
            if part is Life.down:
                lead(folder, Life.up)
            die_before(step)
            lead(folder, part)

        ended = forked(doomed)
        if part is Life.up:
            assert forked(lambda folder=folder: lead(folder, Life.up)) == 0, f"killed before step {step}"
        assert forked(lambda folder=folder: lead(folder, Life.down)) == 0, f"killed before step {step}"
        left = [path for path in folder.rglob("*") if path.name != "lock" and not path.name.endswith("-staging")]
        assert {path.name for path in left} == {"data", "volumes", "snapshots", "aside"}, f"killed before step {step}"
        if ended == 0:
            assert step > 10, "nearly nothing was counted as a step"
            return
        assert ended == signal.SIGKILL
    pytest.fail("the life has no end")
