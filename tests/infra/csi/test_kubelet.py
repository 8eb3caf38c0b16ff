"""The kubelet's side: drivers come and go, kubelets are killed between any two calls, and no volume is left behind or
lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from k8sext.infra.csi.controller import Controller
from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import registration_pb2, registration_pb2_grpc
from k8sext.infra.csi.publish import Links
from k8sext.infra.csi.server import serving
from k8sext.infra.csi.state import Store
from k8sext.infra.kubelet.paths import NotOnNode, Paths
from k8sext.infra.kubelet.plugins.csi import Driver
from k8sext.infra.kubelet.plugins.watcher import Plugins
from k8sext.infra.kubelet.server.metrics import volume_metrics
from k8sext.infra.kubelet.volumes.claims import Claim, ClaimError
from k8sext.infra.kubelet.volumes.csi import CsiVolumes
from tests.infra.csi.conftest import capability
from tests.support.eventually import eventually_async

NAME = "csi.k8sext.dev"
HANDLE_OF = "first"
VOLUME = {"name": "notes", "persistentVolumeClaim": {"claimName": "notes"}}


class Announcements:
    """Stands for the CSINode object."""

    def __init__(self) -> None:
        self.drivers: dict[str, Any] = {}

    async def add(self, driver: str, node_id: str, topology: dict[str, str]) -> None:
        self.drivers[driver] = (node_id, topology)

    async def remove(self, driver: str) -> None:
        del self.drivers[driver]


class FakeClaims:
    """One claim, bound to one volume; remembers what it was told of growth."""

    def __init__(self, handle: str) -> None:
        self.handle, self.size, self.told = handle, "1Mi", ""

    async def find(self, namespace: str, name: str) -> Claim:
        source = {"driver": NAME, "volumeHandle": self.handle}
        volume = {"metadata": {"name": "pv"}, "spec": {"csi": source, "capacity": {"storage": self.size}}}
        return Claim({"status": {"capacity": {"storage": self.told or "1Mi"}}}, volume)

    async def has_grown(self, found: Claim, size: int) -> None:
        self.told = str(size)


class Node:
    """A node's disk with a driver on it, and kubelets, one after the other."""

    def __init__(self, folder: Path) -> None:
        # As in a driver's pod: its paths are the kubelet's, so here both use the machine's.
        self.disk = Plain(folder / "kubelet", folder / "registry")
        self.disk.make()
        self.socket = self.disk.registry / "d.sock"
        self.announced = Announcements()
        self.claims: Any = None
        self.store: Store

    @contextlib.asynccontextmanager
    async def driver(self) -> AsyncIterator[None]:
        """Serve the driver, with one volume made."""
        with contextlib.closing(Store(self.disk.root / "plugins" / NAME)) as self.store:
            asked = csi.CreateVolumeRequest(
                name=HANDLE_OF,
                volume_capabilities=[capability()],
                capacity_range=csi.CapacityRange(required_bytes=4 << 20),
            )
            made = await Controller(self.store, Links(), "n1").CreateVolume(asked, None)
            self.claims = self.claims or FakeClaims(made.volume.volume_id)
            async with serving(self.socket, self.store, Links(), "n1"):
                yield

    @contextlib.asynccontextmanager
    async def kubelet(self) -> AsyncIterator[CsiVolumes]:
        """A kubelet that has just started."""
        plugins = Plugins(self.disk, self.announced)  # type: ignore[arg-type]
        registered = asyncio.Event()
        task = asyncio.create_task(plugins.run(registered.set))
        try:
            await asyncio.wait_for(registered.wait(), 60)
            self.plugins = plugins
            yield CsiVolumes(self.disk, plugins, self.claims)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def left(self) -> list[Path]:
        """What there is of pods and staged volumes."""
        return [*self.disk.root.glob("pods/*/volumes/*/*"), *self.disk.root.glob("plugins/kubernetes.io/csi/*/*")]


class Plain(Paths):
    """A node whose /var/lib/kubelet is where the machine has it."""

    def locate(self, path: Any) -> Path:
        text = str(path)
        inside = "/var/lib/kubelet/"
        return super().locate(path) if text.startswith(inside) else Path(text)


def pod(uid: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": uid, "namespace": "shop"}}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The driver is told the kubelet's paths, so these are turned into the machine's, as the mounts of its pod do."""
    found = Node(tmp_path)
    call = Driver.call

    async def translated(self: Driver, method: str, request: Any, *rest: Any) -> Any:
        moved = type(request)()
        moved.CopyFrom(request)
        for field in ("target_path", "staging_target_path", "volume_path"):
            if getattr(moved, field, ""):
                setattr(moved, field, str(found.disk.locate(getattr(moved, field))))
        return await call(self, method, moved, *rest)

    monkeypatch.setattr(Driver, "call", translated)
    return found


async def test_a_driver_is_announced_once_it_is_there_and_no_more_when_it_has_gone(node: Node) -> None:
    async with node.driver(), node.kubelet():
        assert node.announced.drivers == {NAME: ("n1", {"topology.csi.k8sext.dev/node": "n1"})}
        driver = node.plugins.driver(NAME)
        assert driver and driver.can("STAGE_UNSTAGE_VOLUME") and not driver.can("VOLUME_CONDITION")
        node.socket.unlink()
        await eventually_async(lambda: not node.announced.drivers and not node.plugins.driver(NAME))


async def test_a_driver_that_was_replaced_is_registered_anew(node: Node) -> None:
    async with node.driver(), node.kubelet() as kubelet:
        before = node.plugins.driver(NAME)
        node.socket.unlink()  # its successor makes a new one of the same name
        async with serving(node.socket, node.store, Links(), "n1"):
            await eventually_async(lambda: node.plugins.driver(NAME) not in (None, before))
            await kubelet.publish(pod("u1"), VOLUME)


class Strange(registration_pb2_grpc.RegistrationServicer):
    """A plugin that says of itself what the test wants, and hears what the kubelet says of it."""

    def __init__(self, info: registration_pb2.PluginInfo) -> None:
        self._info = info
        self.heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def GetInfo(self, request: Any, context: Any) -> Any:
        return self._info

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> Any:
        if not self.heard.done():
            self.heard.set_result(request.error)
        return registration_pb2.RegistrationStatusResponse()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "DevicePlugin"}, "takes plugins of type CSIPlugin, not DevicePlugin"),
        ({"supported_versions": ["0.3.0"]}, "speaks CSI 1.x, the driver 0.3.0"),
        ({"endpoint": "/etc/csi.sock"}, "/etc/csi.sock is refused"),
        ({"endpoint": "/var/lib/kubelet/plugins/none.sock"}, "driver strange"),
    ],
)
async def test_a_strange_plugin_is_told_why_it_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    disk = Paths(tmp_path / "kubelet", tmp_path / "registry")
    disk.make()
    info = {"type": "CSIPlugin", "name": "strange", "endpoint": "/var/lib/kubelet/x", "supported_versions": ["1.0.0"]}
    plugin = Strange(registration_pb2.PluginInfo(**info | change))
    server = grpc.aio.server()
    registration_pb2_grpc.add_RegistrationServicer_to_server(plugin, server)
    server.add_insecure_port(f"unix:{disk.registry}/strange.sock")
    await server.start()
    try:
        assert not await Plugins(disk, Announcements()).look()  # type: ignore[arg-type]
        assert message in await asyncio.wait_for(plugin.heard, 30)
    finally:
        await server.stop(0)


async def test_a_volume_is_there_for_two_pods_until_the_last_has_gone(node: Node) -> None:
    async with node.driver(), node.kubelet() as kubelet:
        for uid in ("u1", "u2"):
            await kubelet.publish(pod(uid), VOLUME)
        (kubelet.path(pod("u1"), VOLUME) / "file").write_text("content")
        assert (kubelet.path(pod("u2"), VOLUME) / "file").read_text() == "content"
        await kubelet.unpublish_all("u1")
        volume = node.store.volume(node.claims.handle)
        assert volume and volume.staged and len(volume.published) == 1
        await kubelet.unpublish_all("u2")
        volume = node.store.volume(node.claims.handle)
        assert volume and not volume.staged and not volume.published and node.left() == []


async def test_without_its_driver_a_volume_neither_comes_nor_goes(node: Node) -> None:
    async with node.driver():
        async with node.kubelet() as kubelet:
            await kubelet.publish(pod("u1"), VOLUME)
        blind = CsiVolumes(node.disk, Plugins(node.disk, node.announced), node.claims)  # type: ignore[arg-type]
        await blind.publish(pod("u1"), VOLUME)  # it stands there already
        assert blind.path(pod("u1"), VOLUME).is_dir()
        with pytest.raises(ClaimError, match="not found in the list of registered CSI drivers"):
            await blind.publish(pod("u2"), VOLUME)
        with pytest.raises(ClaimError, match="not found in the list"):
            await blind.unpublish_all("u1")
        assert len(node.left()) == 2
        async with node.kubelet() as kubelet:
            await kubelet.unpublish_all("u1")
            assert node.left() == []


async def test_a_folder_in_which_something_still_stands_is_kept(node: Node) -> None:
    async with node.driver(), node.kubelet() as kubelet:
        await kubelet.publish(pod("u1"), VOLUME)
        place = node.disk.root / "pods/u1/volumes/kubernetes.io~csi/pv/mount"
        place.unlink()
        place.mkdir()
        (place / "file").write_text("precious")
        with pytest.raises(ClaimError, match="did not take away"):
            await kubelet.unpublish_all("u1")
        assert (place / "file").read_text() == "precious"


class Death(Exception):
    """The kubelet was killed here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("deadly", range(4))
async def test_a_kubelet_killed_around_any_call_leaves_what_its_successor_takes_back(
    node: Node, monkeypatch: pytest.MonkeyPatch, deadly: int, after: bool
) -> None:
    async def live(kubelet: CsiVolumes) -> None:
        await kubelet.publish(pod("u1"), VOLUME)
        await kubelet.unpublish_all("u1")

    async with node.driver():
        async with node.kubelet() as kubelet:
            with monkeypatch.context() as patch:
                patch.setattr(Driver, "call", dying(Driver.call, deadly, after))
                with pytest.raises(Death):
                    await live(kubelet)
        async with node.kubelet() as kubelet:
            await kubelet.unpublish_all("u1")
            volume = node.store.volume(node.claims.handle)
            assert volume and not volume.staged and not volume.published and node.left() == []


def dying(call: Callable[..., Awaitable[Any]], deadly: int, after: bool) -> Callable[..., Awaitable[Any]]:
    count = iter(range(100))

    async def wrapped(self: Driver, *args: Any) -> Any:
        now = next(count) == deadly
        if now and not after:
            raise Death
        answer = await call(self, *args)
        if now:
            raise Death
        return answer

    return wrapped


async def test_a_volume_that_should_grow_does_so_at_the_next_look(node: Node) -> None:
    async with node.driver(), node.kubelet() as kubelet:
        await kubelet.publish(pod("u1"), VOLUME)
        assert node.claims.told == ""
        node.claims.size = "4Mi"
        await kubelet.publish(pod("u1"), VOLUME)
        assert node.claims.told == str(4 << 20)
        lines = volume_metrics(await kubelet.stats()).splitlines()
        assert (
            f'kubelet_volume_stats_capacity_bytes{{namespace="shop",persistentvolumeclaim="notes"}} {4 << 20}' in lines
        )


async def test_a_half_written_folder_is_no_obstacle(node: Node) -> None:
    async with node.driver(), node.kubelet() as kubelet:
        folder = node.disk.root / "pods/u1/volumes/kubernetes.io~csi/pv"
        folder.mkdir(parents=True)
        (folder / ".vol_data.json").write_text('{"driverName')
        await kubelet.publish(pod("u1"), VOLUME)
        assert json.loads((folder / "vol_data.json").read_text())["published"]
        (folder / "vol_data.json").unlink()
        (folder / "mount").unlink()
        await kubelet.unpublish_all("u1")
        assert not folder.exists()


@pytest.mark.parametrize("path", ["/etc", "/", "/var/lib/kubeletx", "/var/lib/kubelet/../x", "var/lib/kubelet"])
def test_a_node_has_no_other_folder_than_its_own(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotOnNode):
        Paths(tmp_path / "kubelet", tmp_path / "registry").locate(path)


def test_a_nodes_paths_lead_into_its_own_folder(tmp_path: Path) -> None:
    disk = Paths(tmp_path / "kubelet", tmp_path / "registry")
    assert disk.locate("/var/lib/kubelet/pods/u1") == tmp_path / "kubelet/pods/u1"
    assert disk.locate("/var/lib/kubelet/plugins_registry/d.sock") == tmp_path / "registry/d.sock"
