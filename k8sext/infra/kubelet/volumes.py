"""Volumes: folders of the node that the runtime puts to their mountPath.

The content of most comes from the API server and is written again every minute or so, and when a token grows old; a container sees the
change without being restarted, except through subPath. The volume of a claim comes from a CSI driver (`csi`), a hostPath from the node's
own disk (`disk`).
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from pathlib import Path
from typing import Any

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet import atomic, env
from k8sext.infra.kubelet.claims import ClaimError
from k8sext.infra.kubelet.csi import CsiVolumes
from k8sext.infra.kubelet.disk import Disk, NotOnDisk
from k8sext.infra.kubelet.env import ConfigError, Surroundings
from k8sext.infra.kubelet.objects import Objects
from k8sext.infra.kubelet.pod import Json, uid

PLUGINS = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "downwardAPI": "downward-api",
    "projected": "projected",
}
ELSEWHERE = ("hostPath", "persistentVolumeClaim")
"""Kinds whose folders are not the kubelet's to fill."""
GROWTH_SECONDS = 10.0
"""A claim that grows is seen after so long. Kubelets may read a claim, but not watch it."""


class VolumeError(Exception):
    """A volume cannot be set up; the message is that of the FailedMount event."""


class Volumes:
    """The volumes of the pods of one node, below `disk.root`/pods/<uid>/volumes."""

    def __init__(self, disk: Disk, objects: Objects, csi: CsiVolumes) -> None:
        self._disk, self._objects, self._csi = disk, objects, csi
        self._root = disk.root / "pods"

    async def prepare(self, pod: Json, where: Surroundings) -> float:
        """Set up or refresh all volumes of a pod. Returns when a token wants renewal (seconds since the epoch, or infinity)."""
        volumes = pod["spec"].get("volumes") or []
        return min(
            await asyncio.gather(*(self._set_up(pod, volume, where) for volume in volumes)), default=float("inf")
        )

    def mounts(self, pod: Json, container: Json, variables: dict[str, str]) -> list[Any]:
        """The mounts of one container. Raises VolumeError for a subPath that leaves its volume."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        result = []
        for mount in container.get("volumeMounts") or []:
            folder = self._folder(pod, volumes[mount["name"]])
            path = folder
            if sub_path := mount.get("subPath") or env.expand(mount.get("subPathExpr", ""), variables):
                path = folder / sub_path
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise VolumeError(f'subPath "{sub_path}" of volume "{mount["name"]}" leads out of the volume')
                if not path.exists():
                    path.mkdir(parents=True)
            read_only = mount.get("readOnly", False) or _is_read_only(volumes[mount["name"]])
            result.append(cri.Mount(container_path=mount["mountPath"], host_path=str(path), readonly=read_only))
        return result

    async def remove(self, pod_uid: str) -> None:
        """Forget all about a pod. Raises VolumeError when something of it cannot be taken back yet."""
        try:
            await self._csi.unpublish_all(pod_uid)
        except ClaimError as error:
            raise VolumeError(str(error)) from error
        shutil.rmtree(self._root / pod_uid, ignore_errors=True)
        self._objects.forget(pod_uid)

    def known_pods(self) -> list[str]:
        """The uids of pods that have a folder here."""
        return [folder.name for folder in self._root.iterdir()] if self._root.is_dir() else []

    def _folder(self, pod: Json, volume: Json) -> Path:
        if "persistentVolumeClaim" in volume:
            return self._csi.path(pod, volume)
        if "hostPath" in volume:
            return self._disk.locate(volume["hostPath"]["path"])
        plugin = PLUGINS[_kind(volume)]
        return self._root / uid(pod) / "volumes" / f"kubernetes.io~{plugin}" / volume["name"]

    async def _set_up(self, pod: Json, volume: Json, where: Surroundings) -> float:
        kind = _kind(volume)
        if kind in ELSEWHERE:
            return await self._bring_here(pod, volume)
        if kind not in PLUGINS:
            allowed = ", ".join((*PLUGINS, *ELSEWHERE))
            raise VolumeError(
                f'volume "{volume["name"]}" is of kind {kind}, which this kubelet does not serve; it serves {allowed}'
            )
        folder = self._folder(pod, volume)
        if kind == "emptyDir":
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            return float("inf")
        source = volume[kind]
        parts = source.get("sources") or [] if kind == "projected" else [{kind: _as_source(source)}]
        try:
            files, renew_at = await self._collect(pod, parts, source.get("defaultMode", 0o644), where)
            atomic.write(folder, files)
        except (ConfigError, ValueError, OSError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
        return renew_at

    async def _bring_here(self, pod: Json, volume: Json) -> float:
        """A claim's volume, or a folder of the node's disk."""
        try:
            if "persistentVolumeClaim" in volume:
                await self._csi.publish(pod, volume)
                return time.time() + GROWTH_SECONDS
            folder = self._disk.locate(volume["hostPath"]["path"])
        except (ClaimError, NotOnDisk) as error:
            raise VolumeError(f'volume "{volume["name"]}": {error}') from error
        if volume["hostPath"].get("type") == "DirectoryOrCreate":
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.exists():
            raise VolumeError(f'volume "{volume["name"]}": {volume["hostPath"]["path"]} is not on this node')
        return float("inf")

    async def _collect(
        self, pod: Json, parts: list[Json], mode: int, where: Surroundings
    ) -> tuple[dict[str, atomic.File], float]:
        """The files of all sources of a volume; a later source wins over an earlier one."""
        files: dict[str, atomic.File] = {}
        renew_at = float("inf")
        for part in parts:
            match part:
                case {"configMap": source}:
                    files |= await self._from_object(pod, "configmaps", source, mode)
                case {"secret": source}:
                    files |= await self._from_object(pod, "secrets", source, mode)
                case {"downwardAPI": source}:
                    files |= _from_downward_api(pod, source, mode, where)
                case {"serviceAccountToken": source}:
                    token = await self._objects.token(
                        pod, source.get("audience", ""), source.get("expirationSeconds", 3600)
                    )
                    files[source["path"]] = atomic.File(token.text.encode(), mode)
                    renew_at = min(renew_at, token.renew_at)
                case _:
                    raise ConfigError(f"the source {', '.join(part)} is not one this kubelet serves")
        return files, renew_at

    async def _from_object(self, pod: Json, kind: str, source: Json, mode: int) -> dict[str, atomic.File]:
        namespace, name = pod["metadata"]["namespace"], source["name"]
        item = await self._objects.get(kind, namespace, name)
        if item is None:
            if source.get("optional"):
                return {}
            raise ConfigError(f'{kind.removesuffix("s")} "{name}" not found')
        content = _content(item)
        if not source.get("items"):
            return {key: atomic.File(value, mode) for key, value in content.items()}
        missing = [entry["key"] for entry in source["items"] if entry["key"] not in content]
        if missing and not source.get("optional"):
            raise ConfigError(f"{kind.removesuffix('s')} references non-existent {namespace}/{name} key: {missing[0]}")
        return {
            entry["path"]: atomic.File(content[entry["key"]], entry.get("mode") or mode)
            for entry in source["items"]
            if entry["key"] in content
        }


def soon(renew_at: float, longest: float) -> float:
    """Seconds until volumes want to be looked after again."""
    return max(1.0, min(longest, renew_at - time.time()))


def _kind(volume: Json) -> str:
    return next(key for key in volume if key != "name")


def _is_read_only(volume: Json) -> bool:
    """What the kubelet fills nobody else may write to."""
    claimed_so = volume.get("persistentVolumeClaim", {}).get("readOnly", False)
    return claimed_so or _kind(volume) not in ("emptyDir", *ELSEWHERE)


def _as_source(source: Json) -> Json:
    """Secret volumes call secretName what every other source calls name."""
    return source | {"name": source.get("name") or source.get("secretName")}


def _content(item: Json) -> dict[str, bytes]:
    data = item.get("data") or {}
    if item.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in data.items()} | binary


def _from_downward_api(pod: Json, source: Json, mode: int, where: Surroundings) -> dict[str, atomic.File]:
    files = {}
    for entry in source.get("items") or []:
        if "fieldRef" in entry:
            text = env.field(pod, entry["fieldRef"]["fieldPath"], where)
        else:
            text = env.resource_field(pod, entry["resourceFieldRef"], where)
        files[entry["path"]] = atomic.File(text.encode(), entry.get("mode") or mode)
    return files
