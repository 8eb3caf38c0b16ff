"""The fields of a pod's spec with which this kubelet does nothing: a pod that uses one gets an event that names it.

Paths are those of the spec without the numbers of lists; `containers` stands for all three kinds of them. All other
fields are honoured, refused in words, or the business of the scheduler or the API server. A test walks the schema of
the running API server, so that a field of a new version is put into one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from k8sext.kube.objects import Json

KINDS = ("containers", "initContainers", "ephemeralContainers")
ALWAYS: Callable[[Any], bool] = bool


def _other_than(*values: object) -> Callable[[Any], bool]:
    return lambda value: value not in values


PROBES, HOOKS = ("livenessProbe", "readinessProbe", "startupProbe"), ("lifecycle.postStart", "lifecycle.preStop")
WITH_DEFAULTS = tuple(f"volumes.{kind}" for kind in ("configMap", "downwardAPI", "projected", "secret"))
FILES = (
    *(f"volumes.{kind}.items" for kind in ("configMap", "downwardAPI", "secret")),
    *(f"volumes.projected.sources.{kind}.items" for kind in ("configMap", "downwardAPI", "secret")),
    "volumes.projected.sources.serviceAccountToken",
)
NOT_HONOURED: dict[str, Callable[[Any], bool]] = {
    "evictionResponders": ALWAYS,
    "resourceClaims": ALWAYS,
    "resources.claims": ALWAYS,
    "securityContext.fsGroupChangePolicy": _other_than("Always"),
    "securityContext.windowsOptions": ALWAYS,
    "containers.env.valueFrom.fileKeyRef": ALWAYS,
    "containers.ports.hostPort": ALWAYS,
    "containers.resizePolicy.restartPolicy": _other_than("NotRequired"),
    "containers.resources.claims": ALWAYS,
    "containers.restartPolicyRules.action": _other_than("Restart"),
    "containers.securityContext.windowsOptions": ALWAYS,
    "containers.volumeDevices": ALWAYS,
    "containers.volumeMounts.bindMountOptions": ALWAYS,
    "containers.volumeMounts.recursiveReadOnly": _other_than("Disabled", "IfPossible"),
    "volumes.emptyDir.medium": _other_than(""),
    **{f"containers.{kind}.httpGet.protocol": _other_than("HTTP1") for kind in (*PROBES, *HOOKS)},
    **{f"containers.{kind}.grpc.mode": _other_than("Plaintext") for kind in PROBES},
    **{f"{place}.user": ALWAYS for place in FILES},
    **{f"{place}.defaultUser": ALWAYS for place in WITH_DEFAULTS},
}
"""By path, whether a value asks for anything: what the API server fills in as a default does not."""


def of_pod(pod: Json) -> list[str]:
    """Return where a pod's spec uses such fields outside of its containers, as `volumes[0].emptyDir.sizeLimit`."""
    return _found({key: value for key, value in pod["spec"].items() if key not in KINDS}, "")


def of_container(container: Json) -> list[str]:
    """Return where a container uses such fields, as `volumeDevices`."""
    return _found(container, "containers")


def told(fields: list[str]) -> tuple[str, str]:
    """The reason and the message of the event that names them."""
    return "FieldsNotHonoured", f"This kubelet does nothing with {', '.join(fields)}"


def _found(value: Json, path: str) -> list[str]:
    fields = _walk(value, "", path)
    return [where for where, path, value in fields if path in NOT_HONOURED and NOT_HONOURED[path](value)]


def _walk(value: object, where: str, path: str) -> Iterator[tuple[str, str, Any]]:
    """Yield each field below a value: where it stands, the path that tells its kind, its value."""
    if isinstance(value, list):
        for number, member in enumerate(cast("list[object]", value)):
            yield from _walk(member, f"{where}[{number}]", path)
    elif isinstance(value, dict):
        for key, member in cast(Json, value).items():
            below = f"{where}.{key}".removeprefix("."), f"{path}.{key}".removeprefix(".")
            yield *below, member
            yield from _walk(member, *below)
