"""Volumes: folders of the node that the runtime puts to their mountPath.

The content of most comes from the API server (`projected`) and is written again every minute or so, and when a token
grows old; a container sees the change without being restarted, except through subPath. The volume of a claim comes from
a CSI driver (`csi`), a hostPath from the node's own folders (`paths`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.paths import NotOnNode, Paths
from k8sext.infra.kubelet.pod import env
from k8sext.infra.kubelet.pod.env import ConfigError, Environment
from k8sext.infra.kubelet.pod.podspec import mount_path, uid, volume_kind
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.volumes import atomic_writer, host_path, projected
from k8sext.infra.kubelet.volumes.claims import ClaimError, is_claimed
from k8sext.infra.kubelet.volumes.csi import CsiVolumes
from k8sext.infra.kubelet.volumes.pod_certificates import PodCertificates
from k8sext.kube.objects import Json, part
from k8sext.kube.request import ApiError, Unreachable

PLUGINS = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "downwardAPI": "downward-api",
    "projected": "projected",
}
ELSEWHERE = ("hostPath", "persistentVolumeClaim", "ephemeral")
"""Kinds whose folders are not the kubelet's to fill."""
PROPAGATION = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
RETRY_SECONDS = 10.0
GROWTH_SECONDS = 10.0
"""A claim that grows is seen after so long. Kubelets may read a claim, but not watch it."""


class VolumeError(Exception):
    """A volume cannot be set up; the message is that of the FailedMount event."""


class Volumes:
    """The volumes of the pods of one node, below `paths.root`/pods/<uid>/volumes."""

    def __init__(
        self,
        paths: Paths,
        references: References,
        csi: CsiVolumes,
        environment: Environment,
        certificates: PodCertificates,
        sync_frequency: float,
    ) -> None:
        """`sync_frequency`: seconds after which content is read again at the latest."""
        self._paths, self._references, self._csi = paths, references, csi
        self._environment, self._certificates, self._sync_frequency = environment, certificates, sync_frequency
        self._pods = paths.root / "pods"

    async def prepare(self, pod: Json, sandbox_ip: str, warn: Callable[[str], None]) -> float:
        """Set up or refresh all volumes of a pod. Returns in how many seconds they want to be refreshed.

        A volume that stands and cannot be refreshed stays as it is: `warn` is told why, and it is tried again soon.
        Raises VolumeError, ApiError, Unreachable for one that does not stand yet.
        """

        async def one(volume: Json) -> float:
            try:
                return await self._set_up(pod, volume, sandbox_ip)
            except (VolumeError, ApiError, Unreachable) as error:
                if not self._stands(pod, volume):
                    raise
                warn(str(error))
                return time.time() + RETRY_SECONDS

        due = await asyncio.gather(*map(one, pod["spec"].get("volumes") or []))
        return max(1.0, min(self._sync_frequency, min(due, default=math.inf) - time.time()))

    def stand(self, pod: Json) -> bool:
        """Was every volume of a pod set up once?"""
        return all(self._stands(pod, volume) for volume in pod["spec"].get("volumes") or [])

    def mounts(self, pod: Json, container: Json, variables: dict[str, str]) -> list[cri.Mount]:
        """The mounts of one container. Raises VolumeError for a subPath that leaves its volume,
        ConfigError for a subPathExpr with a variable that is not there."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        result: list[cri.Mount] = []
        for mount in container.get("volumeMounts") or []:
            path = folder = self._folder(pod, volumes[mount["name"]])
            if sub_path := mount.get("subPath") or env.expand_known(mount.get("subPathExpr", ""), variables):
                path = folder / sub_path
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise VolumeError(f'subPath "{sub_path}" of volume "{mount["name"]}" leads out of the volume')
                if not path.exists():
                    path.mkdir(parents=True)
            read_only = mount.get("readOnly", False) or _is_read_only(volumes[mount["name"]])
            way = PROPAGATION[mount.get("mountPropagation", "None")]
            result.append(
                cri.Mount(container_path=mount_path(mount), host_path=str(path), readonly=read_only, propagation=way)
            )
        return result

    def local(self, pod: Json) -> dict[str, Path]:
        """The folders of the volumes that the kubelet itself fills or gives, by the volumes' names."""
        mine = [volume for volume in pod["spec"].get("volumes") or [] if volume_kind(volume) in PLUGINS]
        return {volume["name"]: folder for volume in mine if (folder := self._folder(pod, volume)).is_dir()}

    def pod_folder(self, pod: Json) -> Path:
        """Where what belongs to a pod stands on the node; it goes with the pod."""
        return self._pods / uid(pod)

    async def remove(self, pod_uid: str) -> None:
        """Forget all about a pod. Raises VolumeError when something of it cannot be taken back yet."""
        try:
            await self._csi.unpublish_all(pod_uid)
        except ClaimError as error:
            raise VolumeError(str(error)) from error
        shutil.rmtree(self._pods / pod_uid, ignore_errors=True)
        self._references.forget(pod_uid)
        self._certificates.forget(pod_uid)

    def known_pods(self) -> list[str]:
        """The uids of pods that have a folder here."""
        return [folder.name for folder in self._pods.iterdir()] if self._pods.is_dir() else []

    def _folder(self, pod: Json, volume: Json) -> Path:
        if is_claimed(volume):
            return self._csi.path(pod, volume)
        if "hostPath" in volume:
            return self._paths.locate(volume["hostPath"]["path"])
        plugin = PLUGINS[volume_kind(volume)]
        return self.pod_folder(pod) / "volumes" / f"kubernetes.io~{plugin}" / volume["name"]

    def _stands(self, pod: Json, volume: Json) -> bool:
        kind = volume_kind(volume)
        if is_claimed(volume):
            return self._csi.is_published(pod, volume)
        if kind == "emptyDir" or kind == "hostPath":
            with contextlib.suppress(NotOnNode):
                return self._folder(pod, volume).exists()
        return kind in PLUGINS and atomic_writer.is_written(self._folder(pod, volume))

    async def _set_up(self, pod: Json, volume: Json, sandbox_ip: str) -> float:
        """Returns when it wants to be refreshed, in seconds since the epoch, or infinity."""
        kind = volume_kind(volume)
        if kind in ELSEWHERE:
            return await self._bring_here(pod, volume)
        if kind not in PLUGINS:
            allowed = ", ".join((*PLUGINS, *ELSEWHERE))
            raise VolumeError(
                f'volume "{volume["name"]}" is of kind {kind}, which this kubelet does not serve; it serves {allowed}'
            )
        folder, group = self._folder(pod, volume), _group(pod)
        if kind == "emptyDir":
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(volume[kind].get("mode", 0o777))
            if group is not None:
                os.chown(folder, -1, group)
                folder.chmod(folder.stat().st_mode | 0o2770)
            return math.inf
        mode = volume[kind].get("defaultMode", 0o644)
        where = self._environment.surroundings(pod, sandbox_ip)
        try:
            files, renew_at = await projected.collect(pod, volume, mode, where, self._references, self._certificates)
            atomic_writer.write(folder, files, group)
        except (ConfigError, ValueError, OSError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
        return renew_at

    async def _bring_here(self, pod: Json, volume: Json) -> float:
        """A claim's volume, or a folder of the node."""
        try:
            if is_claimed(volume):
                await self._csi.publish(pod, volume)
                return time.time() + GROWTH_SECONDS
            folder = self._paths.locate(volume["hostPath"]["path"])
        except (ClaimError, NotOnNode) as error:
            raise VolumeError(f'volume "{volume["name"]}": {error}') from error
        try:
            host_path.check(folder, volume["hostPath"].get("type") or "")
        except OSError as error:
            what = f"hostPath type check failed: {volume['hostPath']['path']} {error}"
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {what}') from error
        return math.inf


def _group(pod: Json) -> int | None:
    """The group that is to own the volumes (fsGroup); only root can give files away.

    Source: SetVolumeOwnership in pkg/volume/volume_linux.go.
    """
    return part(pod["spec"], "securityContext").get("fsGroup") if os.geteuid() == 0 else None


def _is_read_only(volume: Json) -> bool:
    """What the kubelet fills nobody else may write to."""
    claimed_so = volume.get("persistentVolumeClaim", {}).get("readOnly", False)
    return claimed_so or volume_kind(volume) not in ("emptyDir", *ELSEWHERE)
