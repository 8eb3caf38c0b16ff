"""What the tests of the driver share: a driver in a process of its own, and clients of its three services."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from k8sext.infra.csi.publish import mount_points
from tests.support.eventually import eventually

Mode = csi.VolumeCapability.AccessMode
MEBI = 1 << 20


def capability(mode: Any = Mode.SINGLE_NODE_MULTI_WRITER) -> csi.VolumeCapability:
    """A folder, for the pods of one node."""
    return csi.VolumeCapability(mount=csi.VolumeCapability.MountVolume(), access_mode=Mode(mode=mode))


class Driver:
    """A driver in a process of its own, in a folder with a short path."""

    def __init__(self, folder: Path, publish: str) -> None:
        self.folder, self.data, self.publish = folder, folder / "data", publish
        self.endpoint = f"unix://{folder}/csi.sock"
        self.staging, self.targets = folder / "staging", folder / "targets"
        for place in (self.staging, self.targets):
            place.mkdir()
        self.channel = grpc.insecure_channel(self.endpoint, options=[("grpc.max_reconnect_backoff_ms", 100)])
        self.identity = csi_pb2_grpc.IdentityStub(self.channel)
        self.controller = csi_pb2_grpc.ControllerStub(self.channel)
        self.node = csi_pb2_grpc.NodeStub(self.channel)
        self.start()

    def start(self) -> None:
        words = ["--endpoint", self.endpoint, "--data", str(self.data), "--node", "n1", "--publish", self.publish]
        self.process = subprocess.Popen([sys.executable, "-m", "k8sext.infra.csi", *words, "--log-level", "WARNING"])
        eventually(self._answers, not_yet=grpc.RpcError)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail("the driver ended")
        self.identity.Probe(csi.ProbeRequest(), timeout=5)
        return True

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)

    def create(self, name: str, size: int = MEBI, **more: Any) -> csi.Volume:
        asked = csi.CapacityRange(required_bytes=size)
        request = csi.CreateVolumeRequest(name=name, capacity_range=asked, volume_capabilities=[capability()], **more)
        return self.controller.CreateVolume(request).volume

    def stage(self, id: str) -> None:
        (self.staging / id).mkdir(exist_ok=True)
        self.node.NodeStageVolume(
            csi.NodeStageVolumeRequest(
                volume_id=id, staging_target_path=str(self.staging / id), volume_capability=capability()
            )
        )

    def place(
        self, id: str, target: str = "a", *, mode: Any = Mode.SINGLE_NODE_MULTI_WRITER, readonly: bool = False
    ) -> Path:
        """Publish a staged volume."""
        path = self.targets / target
        self.node.NodePublishVolume(
            csi.NodePublishVolumeRequest(
                volume_id=id,
                staging_target_path=str(self.staging / id),
                target_path=str(path),
                volume_capability=capability(mode),
                readonly=readonly,
            )
        )
        return path

    def take_back(self, id: str, *targets: str) -> None:
        """Unpublish and unstage."""
        for target in targets:
            path = str(self.targets / target)
            self.node.NodeUnpublishVolume(csi.NodeUnpublishVolumeRequest(volume_id=id, target_path=path))
        staging = str(self.staging / id)
        self.node.NodeUnstageVolume(csi.NodeUnstageVolumeRequest(volume_id=id, staging_target_path=staging))

    def delete(self, id: str) -> None:
        self.controller.DeleteVolume(csi.DeleteVolumeRequest(volume_id=id))

    def ids(self) -> list[str]:
        return [entry.volume.volume_id for entry in self.controller.ListVolumes(csi.ListVolumesRequest()).entries]


def running(publish: str) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory(prefix="csi") as folder:
        driver = Driver(Path(folder), publish)
        try:
            yield driver
        finally:
            if driver.process.poll() is None:
                driver.end()
            driver.channel.close()
            for place in mount_points():
                if place.startswith(f"{folder}/"):
                    subprocess.run(["umount", place], check=True)


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A driver that publishes by links."""
    yield from running("link")


@pytest.fixture
def mounting_driver() -> Iterator[Driver]:
    """A driver that publishes by bind mounts, for tests that run as root."""
    yield from running("bind")


def refused(code: grpc.StatusCode, message: str = "") -> Any:
    """Expect a call to be refused with this status, and these words in the message."""

    def fits(error: BaseException) -> bool:
        return error.code() == code and message in error.details()  # type: ignore[attr-defined]

    return pytest.raises(grpc.RpcError, check=fits)
