"""Give every pod that asks for it (label certificate=yes) a certificate of its own, in a volume.

The volumes of a stored pod can no longer be changed, so the work is shared. A mutating webhook puts in the volume,
which names a Secret that does not exist yet. The initializer fills that Secret, which takes what a webhook must not do:
a side effect, time, and the UID of a pod that is stored, so that the Secret belongs to the pod and goes with it. The
scheduling gate makes the pod wait for it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from k8sext.admission.functions import mutating
from k8sext.admission.initializers.controller import initializer
from k8sext.admission.review import AdmissionRequest
from k8sext.kube import certificates as x509
from k8sext.kube.objects import Json, owner_reference
from k8sext.kube.request import ApiError, request
from k8sext.kube.resource import SECRETS

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

VOLUME = "certificate"
MOUNT_PATH = "/certificate"
AUTHORITY = "pod-authority"


@mutating("pods", on=["CREATE"], object_labels={"certificate": "yes"})
def certificate_volume(pod: Json, asked: AdmissionRequest) -> None:
    """Add the volume, and mount it in every container. A new pod has no UID, so the request names the Secret."""
    volumes = pod["spec"].setdefault("volumes", [])
    if any(volume["name"] == VOLUME for volume in volumes):
        return
    volumes.append({"name": VOLUME, "secret": {"secretName": f"certificate-{asked.uid}"}})
    for container in pod["spec"]["containers"]:
        mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)


@initializer("certificate.initializers.k8s.packt.com", "pods")
async def certificate(pod: Json, client: ApiClient) -> None:
    """Issue a certificate for this pod, if it has the volume. Called twice, it finds its Secret and leaves it."""
    volumes = pod["spec"].get("volumes") or []
    secrets = [volume["secret"]["secretName"] for volume in volumes if volume["name"] == VOLUME and "secret" in volume]
    if not secrets:
        return
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    authority = await _authority(client, namespace)
    pair = x509.issue(authority, f"{namespace}/{name}", hosts=[f"{name}.{namespace}.pod"])
    secret = _secret(secrets[0], pair, authority.certificate)
    secret["metadata"]["ownerReferences"] = [owner_reference(pod)]
    await _create(client, namespace, secret)


async def _authority(client: ApiClient, namespace: str) -> x509.Pair:
    """The namespace's authority, made by whoever needs it first."""
    await _create(client, namespace, _secret(AUTHORITY, x509.authority(f"pods of {namespace}"), ""))
    found = await request(client, "GET", SECRETS.path(AUTHORITY, namespace))
    texts = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    return x509.Pair(texts["tls.crt"], texts["tls.key"])


async def _create(client: ApiClient, namespace: str, secret: Json) -> None:
    """Create a Secret; the one that is there already is as good."""
    try:
        await request(client, "POST", SECRETS.collection(namespace), secret)
    except ApiError as error:
        if error.code != 409:
            raise


def _secret(name: str, pair: x509.Pair, authority: str) -> Json:
    texts = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority}
    return {"metadata": {"name": name}, "type": "kubernetes.io/tls", "stringData": texts}
