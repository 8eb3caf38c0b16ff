"""Files from the API server, for a volume: configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle and
podCertificate, alone or projected into one."""

from __future__ import annotations

import base64

from k8sext.infra.kubelet.pod import env
from k8sext.infra.kubelet.pod.env import ConfigError, Surroundings
from k8sext.infra.kubelet.pod.podspec import volume_kind
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.volumes.atomic_writer import File
from k8sext.infra.kubelet.volumes.pod_certificates import PodCertificates, files_of
from k8sext.infra.kubelet.volumes.trust_bundles import trust_anchors
from k8sext.kube.objects import Json

Files = dict[str, File]
"""By their paths in the volume."""


def sources_of(volume: Json) -> list[Json]:
    """The sources of a volume of any of these kinds, each as a projected volume would name it."""
    kind = volume_kind(volume)
    source = volume[kind]
    if kind == "projected":
        return source.get("sources") or []
    return [{kind: source | {"name": source.get("name") or source.get("secretName")}}]


async def collect(
    pod: Json, volume: Json, mode: int, where: Surroundings, references: References, issued: PodCertificates
) -> tuple[Files, float]:
    """The files of all sources of a volume; a later source wins over an earlier one.

    Returns also when a token or a certificate among them wants renewal, in seconds since the epoch (or infinity).
    Raises ConfigError when something is missing and not optional.
    """
    files: Files = {}
    renew_at = float("inf")
    for index, part in enumerate(sources_of(volume)):
        match part:
            case {"configMap": source}:
                files |= await _from_object(pod, "configmaps", source, mode, references)
            case {"secret": source}:
                files |= await _from_object(pod, "secrets", source, mode, references)
            case {"downwardAPI": source}:
                files |= _from_downward_api(pod, source, mode, where)
            case {"serviceAccountToken": source}:
                audience, seconds = source.get("audience", ""), source.get("expirationSeconds", 3600)
                token = await references.token(pod, audience, seconds)
                files[source["path"]] = File(token.text.encode(), mode)
                renew_at = min(renew_at, token.renew_at)
            case {"clusterTrustBundle": source}:
                files[source["path"]] = File(await trust_anchors(source, references), mode)
            case {"podCertificate": source}:
                bundle = await issued.bundle(pod, volume["name"], index, source)
                files |= {path: File(content, mode) for path, content in files_of(source, bundle).items()}
                renew_at = min(renew_at, bundle.renew_at)
            case _:
                raise ConfigError(f"the source {', '.join(part)} is not one this kubelet serves")
    return files, renew_at


async def _from_object(pod: Json, kind: str, source: Json, mode: int, references: References) -> Files:
    namespace, name = pod["metadata"]["namespace"], source["name"]
    item = await references.get(kind, namespace, name)
    if item is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{kind.removesuffix("s")} "{name}" not found')
    content = _content(item)
    if not source.get("items"):
        return {key: File(value, mode) for key, value in content.items()}
    missing = [entry["key"] for entry in source["items"] if entry["key"] not in content]
    if missing and not source.get("optional"):
        raise ConfigError(f"{kind.removesuffix('s')} references non-existent {namespace}/{name} key: {missing[0]}")
    return {
        entry["path"]: File(content[entry["key"]], entry.get("mode") or mode)
        for entry in source["items"]
        if entry["key"] in content
    }


def _content(item: Json) -> dict[str, bytes]:
    data = item.get("data") or {}
    if item.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in data.items()} | binary


def _from_downward_api(pod: Json, source: Json, mode: int, where: Surroundings) -> Files:
    files: Files = {}
    for entry in source.get("items") or []:
        if "fieldRef" in entry:
            text = env.field(pod, entry["fieldRef"]["fieldPath"], where)
        else:
            text = env.resource_field(pod, entry["resourceFieldRef"], where)
        files[entry["path"]] = File(text.encode(), entry.get("mode") or mode)
    return files
