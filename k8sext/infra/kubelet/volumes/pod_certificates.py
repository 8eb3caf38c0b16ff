"""Certificates for pods: make a key, ask a signer for a certificate by a PodCertificateRequest, ask again in time.

The key never leaves the node. Whoever watches PodCertificateRequests of the signer's name is the signer: it writes the
certificate into the status, or a condition that says why not.
Source: KEP-4317; pkg/kubelet/podcertificate.
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#pod-certificate-requests
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from k8sext.infra.kubelet.pod.env import ConfigError
from k8sext.infra.kubelet.pod.references import References
from k8sext.infra.kubelet.volumes.trust_bundles import certificates
from k8sext.kube.objects import Json, owner_reference, parts
from k8sext.kube.resource import NODES, SERVICE_ACCOUNTS, Resource

POD_CERTIFICATE_REQUESTS = Resource("certificates.k8s.io", "v1", "podcertificaterequests")
LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 2.0
"""A signer answers within so long, or the pod waits for the next try."""
RETRY_SECONDS = 10.0
SPREAD_SECONDS = 300.0
"""Certificates that were issued together are not all renewed in the same moment."""


class Bundle(NamedTuple):
    """A private key and its chain of certificates, both as PEM, and when to look again, in seconds since the epoch."""

    key: bytes
    chain: bytes
    renew_at: float


@dataclass
class _Issued:
    """What is known of one source of one volume: what was issued last, and the request that is under way."""

    bundle: Bundle | None = None
    name: str = ""
    key: bytes = b""
    refusal: str = ""


class PodCertificates:
    """The certificates of the pods of one node. A kubelet that starts again asks anew for each of them."""

    def __init__(self, references: References, node: str) -> None:
        self._references, self._node = references, node
        self._known: dict[tuple[str, str, int], _Issued] = {}

    async def bundle(self, pod: Json, volume: str, index: int, source: Json) -> Bundle:
        """The key and certificates of the `podCertificate` source at `index` of a volume.

        One that is to be renewed stays until its successor is there. Raises ConfigError while nothing is issued, and
        for good when the signer says no; ApiError, Unreachable.
        """
        known = self._known.setdefault((pod["metadata"]["uid"], volume, index), _Issued())
        if known.bundle and time.time() < known.bundle.renew_at:
            return known.bundle
        if known.refusal:
            raise ConfigError(known.refusal)
        if not known.name:
            key, proof = await asyncio.to_thread(key_and_proof, source["keyType"])
            known.name, known.key = await self._ask(pod, source, proof), key
        until = time.monotonic() + (0 if known.bundle else PATIENCE_SECONDS)
        while not (answered := await self._answer(pod, known)) and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        if answered:
            known.bundle, known.name = answered, ""
            return answered
        if known.bundle:
            return known.bundle._replace(renew_at=time.time() + RETRY_SECONDS)
        raise ConfigError("credential bundle is not issued yet")

    def forget(self, pod_uid: str) -> None:
        """The pod is gone, and its keys with it."""
        self._known = {where: known for where, known in self._known.items() if where[0] != pod_uid}

    async def _ask(self, pod: Json, source: Json, proof: bytes) -> str:
        """Make the request, owned by the pod; its name. For whom it is, the API server compares with the pod."""
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        spec = {
            "signerName": source["signerName"],
            "podName": pod["metadata"]["name"],
            "podUID": pod["metadata"]["uid"],
            "serviceAccountName": account,
            "serviceAccountUID": await self._uid(SERVICE_ACCOUNTS.path(account, namespace)),
            "nodeName": self._node,
            "nodeUID": await self._uid(NODES.path(self._node)),
            "maxExpirationSeconds": source.get("maxExpirationSeconds"),
            "stubPKCS10Request": base64.b64encode(proof).decode(),
            "unverifiedUserAnnotations": source.get("userAnnotations"),
        }
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "PodCertificateRequest",
            "metadata": {"generateName": "req-", "ownerReferences": [owner_reference(pod)]},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
        made = await self._references.create(POD_CERTIFICATE_REQUESTS.collection(namespace), body)
        return made["metadata"]["name"]

    async def _uid(self, path: str) -> str:
        found = await self._references.read(path)
        if found is None:
            raise ConfigError(f"{path.rpartition('/')[2]} is gone, so no certificate can be asked for")
        return found["metadata"]["uid"]

    async def _answer(self, pod: Json, known: _Issued) -> Bundle | None:
        """What the signer said, None if nothing yet. A request that somebody deleted is made again by the next try."""
        path = POD_CERTIFICATE_REQUESTS.path(known.name, pod["metadata"]["namespace"])
        request = await self._references.read(path)
        if request is None:
            known.name = ""
            raise ConfigError("the PodCertificateRequest appears to have been deleted")
        status = request.get("status", {})
        for condition in parts(status, "conditions"):
            match condition["type"]:
                case "Issued":
                    chain = "".join(certificates(status["certificateChain"])).encode()
                    begin = datetime.fromisoformat(status["beginRefreshAt"]).timestamp()
                    return Bundle(known.key, chain, begin + random.uniform(0, SPREAD_SECONDS))
                case "Denied" | "Failed":
                    verdict = f"permanently {condition['type'].lower()}"
                    why = f'reason="{condition["reason"]}" message="{condition["message"]}"'
                    known.refusal = f"PodCertificateRequest was {verdict}: {why}"
                    raise ConfigError(known.refusal)
                case _:
                    pass
        return None


def files_of(source: Json, bundle: Bundle) -> dict[str, bytes]:
    """The files that a `podCertificate` source wants, by their paths: all in one, or the key and the chain apart."""
    content = {
        "credentialBundlePath": bundle.key + bundle.chain,
        "keyPath": bundle.key,
        "certificateChainPath": bundle.chain,
    }
    return {source[field]: text for field, text in content.items() if source.get(field)}


def key_and_proof(key_type: str) -> tuple[bytes, bytes]:
    """A new private key as PEM (PKCS #8), and a certificate request signed by it (PKCS #10, DER), which says nothing
    but that its sender has the key. Raises ConfigError for a type that this kubelet does not know."""
    # most nodes never need it, and it would cost each megabytes
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key_type:
        case "RSA3072" | "RSA4096":
            key = rsa.generate_private_key(65537, int(key_type.removeprefix("RSA")))
        case "ECDSAP256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "ECDSAP384":
            key = ec.generate_private_key(ec.SECP384R1())
        case "ECDSAP521":
            key = ec.generate_private_key(ec.SECP521R1())
        case "ED25519":
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            raise ConfigError(f'unknown key type "{key_type}"')
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    proof = builder.sign(key, None if key_type == "ED25519" else hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, proof.public_bytes(serialization.Encoding.DER)
