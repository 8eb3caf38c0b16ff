"""Trust anchors for a volume, from ClusterTrustBundles: one by its name, or all of a signer that a selector picks.

Source: KEP-3257; pkg/kubelet/clustertrustbundle.
https://kubernetes.io/docs/concepts/storage/projected-volumes/#clustertrustbundle
"""

from __future__ import annotations

import re
import ssl

from k8sext.infra.kubelet.pod.env import ConfigError
from k8sext.infra.kubelet.pod.references import References
from k8sext.kube.objects import Json, parts
from k8sext.kube.resource import Resource

CLUSTER_TRUST_BUNDLES = Resource("certificates.k8s.io", "v1", "clustertrustbundles", namespaced=False)
OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


async def trust_anchors(source: Json, references: References) -> bytes:
    """The certificates that a `clusterTrustBundle` source asks for, as PEM, each once.

    In an order that depends on nothing but them: a volume whose content is the same is not written again. Raises
    ConfigError when there is no bundle and it is not optional; ApiError, Unreachable.
    """
    if name := source.get("name"):
        found = await references.read(CLUSTER_TRUST_BUNDLES.path(name))
        bundles = [found] if found else []
        missing = f'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "{name}" not found'
    else:
        bundles = await _of_signer(source["signerName"], source.get("labelSelector"), references)
        missing = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
    if not bundles and not source.get("optional"):
        raise ConfigError(missing)
    anchors = {one for bundle in bundles for one in certificates(bundle["spec"]["trustBundle"])}
    return "".join(sorted(anchors)).encode()


def certificates(text: str) -> list[str]:
    """The certificates of a PEM text, each as PEM, without what stands between them."""
    return [ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(block)) for block in _CERTIFICATE.findall(text)]


async def _of_signer(signer: str, selector: Json | None, references: References) -> list[Json]:
    if selector is None:  # nothing; an empty one is all of the signer, as everywhere in Kubernetes
        return []
    query = {"fieldSelector": f"spec.signerName={signer}", "labelSelector": selector_text(selector)}
    listed = await references.read(CLUSTER_TRUST_BUNDLES.collection(), query)
    return listed["items"] if listed else []


def selector_text(selector: Json) -> str:
    """A LabelSelector as a request writes it: `app=web,tier in (a,b)`."""
    labels = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    expressions = [
        OPERATORS[one["operator"]].format(key=one["key"], values=",".join(one.get("values") or ()))
        for one in parts(selector, "matchExpressions")
    ]
    return ",".join([*labels, *expressions])
