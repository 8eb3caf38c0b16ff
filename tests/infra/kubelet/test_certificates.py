"""Certificates in volumes: what a signer issues for one pod, and the anchors that it is trusted by."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from k8sext.infra.kubelet.pod.env import ConfigError
from k8sext.infra.kubelet.volumes import pod_certificates
from k8sext.infra.kubelet.volumes.pod_certificates import PodCertificates, files_of, key_and_proof
from k8sext.infra.kubelet.volumes.trust_bundles import selector_text, trust_anchors
from k8sext.kube.certificates import Pair, authority
from k8sext.kube.objects import Json, timestamp
from tests.infra.kubelet.building import pod
from tests.infra.kubelet.conftest import Namespace

SIGNER = "example.com/pods"
SOURCE = {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}
HOUR = timedelta(hours=1)


def sign(ca: Pair, proof: bytes, name: str) -> x509.Certificate:
    """The certificate of an hour for who has the key."""
    asked, issuer = x509.load_der_x509_csr(proof), x509.load_pem_x509_certificate(ca.certificate.encode())
    assert asked.is_signature_valid
    key = serialization.load_pem_private_key(ca.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    start = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + HOUR)
        .sign(key, hashes.SHA256())
    )


def issued(ca: Pair, request: Json) -> Json:
    """The status that a signer writes."""
    spec = request["spec"]
    certificate = sign(ca, base64.b64decode(spec["stubPKCS10Request"]), spec["podName"])
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    end = certificate.not_valid_after_utc
    return condition("Issued") | {
        "certificateChain": text,
        "notBefore": timestamp(certificate.not_valid_before_utc.timestamp()),
        "beginRefreshAt": timestamp((end - HOUR / 2).timestamp()),
        "notAfter": timestamp(end.timestamp()),
    }


def condition(kind: str) -> Json:
    now = timestamp()
    one = {"type": kind, "status": "True", "reason": "Because", "message": "so it is", "lastTransitionTime": now}
    return {"conditions": [one]}


class Server:
    """Has the objects that the test puts there, and keeps what is made."""

    def __init__(self, answer: Callable[[Json], Json]) -> None:
        self.answer, self.made, self.queries = answer, list[Json](), list[Any]()
        self.objects: dict[str, Json] = {}

    async def read(self, path: str, query: Any = None) -> Json | None:
        self.queries.append(query)
        if path.endswith(("/serviceaccounts/default", "/nodes/node-1")):
            return {"metadata": {"uid": path.rpartition("/")[2] + "-uid"}}
        return self.objects.get(path.rpartition("/")[2])

    async def create(self, path: str, body: Json) -> Json:
        assert path == "/apis/certificates.k8s.io/v1/namespaces/shop/podcertificaterequests"
        name = f"req-{len(self.made)}"
        self.made.append(body)
        self.objects[name] = body | {"metadata": {"name": name}, "status": self.answer(body)}
        return self.objects[name]


POD = pod(serviceAccountName="default")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_certificates, "PATIENCE_SECONDS", 0)


@pytest.mark.parametrize("kind", ["RSA3072", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"])
def test_a_proof_is_signed_by_the_key_and_says_nothing_else(kind: str) -> None:
    key, proof = key_and_proof(kind)
    private, asked = serialization.load_pem_private_key(key, None), x509.load_der_x509_csr(proof)
    assert asked.is_signature_valid and not list(asked.subject)
    assert asked.public_key() == private.public_key()


async def test_a_certificate_is_asked_for_once_and_again_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ca = authority()
    server = Server(lambda body: issued(ca, body))
    certificates = PodCertificates(server, "node-1")  # type: ignore[arg-type]
    first = await certificates.bundle(POD, "v", 0, SOURCE)
    assert await certificates.bundle(POD, "v", 0, SOURCE) == first
    [request] = server.made
    assert request["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"}]
    spec = {key: value for key, value in request["spec"].items() if key != "stubPKCS10Request"}
    assert spec == {
        "signerName": SIGNER,
        "podName": "web",
        "podUID": "u1",
        "serviceAccountName": "default",
        "serviceAccountUID": "default-uid",
        "nodeName": "node-1",
        "nodeUID": "node-1-uid",
    }
    assert 1800 - 5 <= first.renew_at - time.time() <= 1800 + 300
    later = first.renew_at + 1
    monkeypatch.setattr(pod_certificates.time, "time", lambda: later)
    server.answer = lambda _: {}
    waiting = await certificates.bundle(POD, "v", 0, SOURCE)
    assert waiting == first._replace(renew_at=later + 10)
    assert await certificates.bundle(POD, "v", 0, SOURCE) == waiting
    assert len(server.made) == 2
    server.objects["req-1"]["status"] = issued(ca, server.made[1])
    second = await certificates.bundle(POD, "v", 0, SOURCE)
    assert second.key != first.key and second.chain != first.chain
    certificates.forget("u1")
    server.answer = lambda body: issued(ca, body)
    assert (await certificates.bundle(POD, "v", 0, SOURCE)).key not in (first.key, second.key)


async def test_what_is_not_issued_yet_is_waited_for_and_what_is_gone_asked_for_again() -> None:
    server = Server(lambda _: {})
    certificates = PodCertificates(server, "node-1")  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ConfigError, match="credential bundle is not issued yet"):
            await certificates.bundle(POD, "v", 0, SOURCE)
    assert len(server.made) == 1
    del server.objects["req-0"]
    with pytest.raises(ConfigError, match="appears to have been deleted"):
        await certificates.bundle(POD, "v", 0, SOURCE)
    ca = authority()
    server.answer = lambda body: issued(ca, body)
    assert (await certificates.bundle(POD, "v", 0, SOURCE)).chain.startswith(b"-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("verdict", ["Denied", "Failed"])
async def test_a_no_is_for_good(verdict: str) -> None:
    server = Server(lambda _: condition(verdict))
    certificates = PodCertificates(server, "node-1")  # type: ignore[arg-type]
    said = f'PodCertificateRequest was permanently {verdict.lower()}: reason="Because" message="so it is"'
    for _ in range(2):
        with pytest.raises(ConfigError, match=said):
            await certificates.bundle(POD, "v", 0, SOURCE)
        server.objects.clear()
    assert len(server.made) == 1
    server.answer = lambda body: issued(authority(), body)
    assert await certificates.bundle(POD, "other", 0, SOURCE)


def test_a_bundle_is_one_file_or_two() -> None:
    bundle = pod_certificates.Bundle(b"key\n", b"chain\n", 0)
    assert files_of({"credentialBundlePath": "all.pem"}, bundle) == {"all.pem": b"key\nchain\n"}
    assert files_of({"keyPath": "k", "certificateChainPath": "c"}, bundle) == {"k": b"key\n", "c": b"chain\n"}


async def test_anchors_of_several_bundles_are_joined_each_once() -> None:
    one, other = authority("one").certificate, authority("other").certificate
    server = Server(lambda _: {})
    server.objects["named"] = {"spec": {"trustBundle": f"some words\n{one}"}}
    server.objects["clustertrustbundles"] = {
        "items": [{"spec": {"trustBundle": f"{other}\n{one}"}}, {"spec": {"trustBundle": one.replace("\n", "\r\n")}}]
    }
    assert (await trust_anchors({"name": "named"}, server)).decode() == one  # type: ignore[arg-type]
    all_of_it = {"signerName": SIGNER, "labelSelector": {"matchLabels": {"live": "yes"}}}
    joined = (await trust_anchors(all_of_it, server)).decode()  # type: ignore[arg-type]
    assert joined == "".join(sorted([one, other]))
    assert server.queries[-1] == {"fieldSelector": f"spec.signerName={SIGNER}", "labelSelector": "live=yes"}
    for source in ({"name": "none"}, {"signerName": SIGNER}):
        with pytest.raises(ConfigError, match=r"not found|matched zero ClusterTrustBundles"):
            await trust_anchors(source, server)  # type: ignore[arg-type]
        assert await trust_anchors(source | {"optional": True}, server) == b""  # type: ignore[arg-type]


def test_a_selector_is_written_as_kubectl_takes_it() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "NotIn", "values": ["3"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"x": "y"}, "matchExpressions": expressions}
    assert selector_text(selector) == "x=y,a in (1,2),b notin (3),c,!d"
    assert selector_text({}) == ""


@pytest.mark.cluster
def test_a_pod_gets_the_certificate_that_its_signer_issues_and_the_anchors_to_check_it(namespace: Namespace) -> None:
    ca, bundle = authority(), f"{namespace.name}-anchors"
    sources = [
        {"podCertificate": {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}},
        {"clusterTrustBundle": {"name": bundle, "path": "ca.pem"}},
        {"clusterTrustBundle": {"signerName": "example.com/none", "path": "empty.pem", "optional": True}},
    ]
    mounts = {"volumeMounts": [{"name": "id", "mountPath": "/id"}]}
    volumes = [{"name": "id", "projected": {"sources": sources}}]
    script = "cat /id/bundle.pem /id/ca.pem /id/empty.pem; stat -c %a /id/..data/bundle.pem; exec sleep 1000"
    namespace.pod("one", script, container=mounts, volumes=volumes)
    said: Callable[[], str] = lambda: " ".join(message for _, message in namespace.events("one"))  # noqa: E731
    namespace.until(lambda: "credential bundle is not issued yet" in said() or "not found" in said())

    anchors = {"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": {"name": bundle}}
    namespace.cluster.kubectl("apply", "-f", "-", input=json.dumps(anchors | {"spec": {"trustBundle": ca.certificate}}))
    try:
        [request] = json.loads(namespace.kubectl("get", "podcertificaterequests", "-o", "json"))["items"]
        status = json.dumps({"status": issued(ca, request)})
        name = request["metadata"]["name"]
        namespace.kubectl("patch", "podcertificaterequest", name, "--subresource=status", "--type=merge", "-p", status)
        namespace.until(lambda: namespace.get("pod", "one")["status"]["phase"] == "Running")
        namespace.until(lambda: namespace.kubectl("logs", "one").rstrip().endswith("644"))
        key, _, rest = namespace.kubectl("logs", "one").partition("-----END PRIVATE KEY-----\n")
        private = serialization.load_pem_private_key(f"{key}-----END PRIVATE KEY-----\n".encode(), None)
        leaf, anchor = x509.load_pem_x509_certificates(rest.encode())
        assert leaf.public_key() == private.public_key()
        assert leaf.subject.rfc4514_string() == "CN=one"
        leaf.verify_directly_issued_by(anchor)
    finally:
        namespace.cluster.kubectl("delete", "clustertrustbundle", bundle)
