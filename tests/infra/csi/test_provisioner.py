"""Claims become volumes once, whenever the provisioner is killed; what nobody claims goes, what is not ours stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.csi import expansion, provisioner
from k8sext.infra.csi.controller import Controller
from k8sext.infra.csi.persistent import DELETED_BY_US, NODE_CHOSEN, PROVISIONED_BY, PROVISIONER, node_of
from k8sext.infra.csi.provisioner import Provisioner
from k8sext.infra.csi.publish import Links
from k8sext.infra.csi.state import Store
from k8sext.kube.objects import Json, key_of
from k8sext.kube.request import ApiError

UID = "0b0a"
NAME = f"pvc-{UID}"
CLASS = {"metadata": {"name": "k8sext"}, "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete"}


class Death(Exception):
    """The provisioner was killed here."""


class World:
    """An API server in memory, a real driver, and provisioners one after the other; `dies_before` counts their
    deeds."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Json] = {}
        self.store = Store(folder)
        self._controller = Controller(self.store, Links(), "n1")
        self.deeds, self.dies_before = 0, 0
        self.said: list[str] = []

    def _deed(self) -> None:
        self.deeds += 1
        if self.deeds == self.dies_before:
            raise Death

    async def request(self, client: Any, method: str, path: str, body: Any = None, **_: Any) -> Json:
        self._deed()
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise ApiError(409, "AlreadyExists", "")
            self.objects[path] = copy.deepcopy(body)
            self.objects[path]["metadata"] |= {"uid": "0b0b", "resourceVersion": "1"}
        if path.removesuffix("/status") not in self.objects:
            raise ApiError(404, "NotFound", "")
        found = self.objects[path.removesuffix("/status")]
        if method == "DELETE":
            found["metadata"]["deletionTimestamp"] = "now"
        if method == "PATCH":
            merge(found, body)
        if "deletionTimestamp" in found["metadata"] and not found["metadata"].get("finalizers"):
            del self.objects[path]
        return copy.deepcopy(found)

    def __getattr__(self, method: str) -> Any:
        """The driver's calls."""

        async def call(request: Any, timeout: float) -> Any:
            self._deed()
            return await getattr(self._controller, method)(request, None)

        return call

    def event(self, reference: Json, type: str, reason: str, message: str) -> None:
        self.said.append(reason)

    async def run(self) -> None:
        """A fresh provisioner looks once at everything."""
        found = Provisioner(None, self, "n1", self)  # type: ignore[arg-type]
        found.classes.store.put(CLASS)
        for path, item in self.objects.items():
            (found.volumes if "/persistentvolumes/" in path else found.claims).store.put(copy.deepcopy(item))
        for item in found.claims.store.list():
            await found.sync_claim(key_of(item))
        for item in found.volumes.store.list():
            await found.sync_volume(key_of(item))

    @property
    def volume(self) -> Json | None:
        return self.objects.get(f"/api/v1/persistentvolumes/{NAME}")

    def claim(self, node: str = "n1", size: str = "1Mi", **spec: Any) -> Json:
        path = "/api/v1/namespaces/shop/persistentvolumeclaims/notes"
        self.objects[path] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": "notes",
                "namespace": "shop",
                "uid": UID,
                "resourceVersion": "1",
                "annotations": {PROVISIONER: "csi.k8sext.dev", NODE_CHOSEN: node},
            },
            "spec": {
                "storageClassName": "k8sext",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
            }
            | spec,
        }
        return self.objects[path]


def merge(target: Json, patch: Json) -> None:
    """JSON merge patch, as far as it is used."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)
    for module in (provisioner, expansion):
        monkeypatch.setattr(module, "request", found.request)
    return found


async def test_a_claim_gets_a_volume_that_is_bound_to_it_and_to_its_node(world: World) -> None:
    world.claim()
    await world.run()
    volume = world.volume
    assert volume and node_of(volume) == "n1"
    assert volume["metadata"]["annotations"] == {PROVISIONED_BY: "csi.k8sext.dev"}
    assert volume["spec"]["capacity"] == {"storage": "1Mi"} and volume["spec"]["claimRef"]["uid"] == UID
    assert [made.id for made in world.store.volumes()] == [volume["spec"]["csi"]["volumeHandle"]]


@pytest.mark.parametrize("deed", [1, 2])
async def test_a_provisioner_killed_before_any_deed_is_replaced_by_one_that_makes_the_same(
    world: World, deed: int
) -> None:
    world.claim()
    world.dies_before = deed
    with pytest.raises(Death):
        await world.run()
    await world.run()
    await world.run()
    assert world.volume and len(list(world.store.volumes())) == 1


@pytest.mark.parametrize("deed", [1, 2, 3])
async def test_a_volume_that_nobody_claims_goes_whenever_the_provisioner_is_killed(world: World, deed: int) -> None:
    world.claim()
    await world.run()
    assert world.volume
    world.volume["status"] = {"phase": "Released"}
    world.objects.pop("/api/v1/namespaces/shop/persistentvolumeclaims/notes")
    world.deeds, world.dies_before = 0, deed
    with pytest.raises(Death):
        await world.run()
    await world.run()
    assert world.volume is None and list(world.store.volumes()) == []


async def test_a_volume_to_be_retained_lets_only_its_object_go(world: World) -> None:
    world.claim()
    await world.run()
    assert world.volume
    world.volume["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
    world.volume["status"] = {"phase": "Released"}
    await world.run()
    assert world.volume["metadata"]["finalizers"] == [DELETED_BY_US]
    world.volume["metadata"]["deletionTimestamp"] = "now"
    await world.run()
    assert world.volume is None and len(list(world.store.volumes())) == 1


async def test_claims_of_other_nodes_and_drivers_are_left_alone(world: World) -> None:
    world.claim(node="n2")
    await world.run()
    world.claim()["metadata"]["annotations"][PROVISIONER] = "ebs.csi.aws.com"
    await world.run()
    assert world.volume is None and world.deeds == 0


async def test_a_claim_that_asks_for_more_grows_and_leaves_word_for_the_node_once(world: World) -> None:
    world.claim()
    await world.run()
    claim = world.claim(size="4Mi", volumeName=NAME)
    status: Json = {"capacity": {"storage": "1Mi"}}
    claim["status"] = status
    for _ in range(2):
        await world.run()
    assert world.volume and world.volume["spec"]["capacity"] == {"storage": "4Mi"}
    assert [volume.capacity for volume in world.store.volumes()] == [4 << 20]
    assert status["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
    assert [condition["type"] for condition in status["conditions"]] == ["FileSystemResizePending"]
    assert world.said.count("Resizing") == 1


@pytest.mark.parametrize(
    "spec", [{"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, {"volumeMode": "Block"}]
)
async def test_what_cannot_be_provisioned_is_said(world: World, spec: Json) -> None:
    world.claim(**spec)
    await world.run()
    assert world.said == ["ProvisioningFailed"] and world.volume is None
