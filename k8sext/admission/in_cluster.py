"""Webhooks in a pod: they make their own certificate, share it through a Secret, and tell the API server whom to trust.

Every replica does the same, and optimistic locking decides who comes first: whoever finds the Secret empty or its
certificate old writes a new one; the others find it there. The order matters: the API server must trust a new
certificate before anybody shows it, so the bundle keeps the former authority beside the new one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8sext.admission.deployment import secret_name
from k8sext.admission.functions import AdmissionWebhook
from k8sext.admission.registration import RESOURCES, ca_bundle
from k8sext.admission.server import WebhookServer
from k8sext.admission.tls import server_context
from k8sext.kube import certificates as x509
from k8sext.kube.connect import in_cluster, service_account_dir
from k8sext.kube.objects import Json
from k8sext.kube.request import JSON_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import SECRETS

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

LIFETIME = datetime.timedelta(days=90)
RENEW_AT = LIFETIME / 3
TRUST_DELAY = 2.0
"""Seconds from a new caBundle to the first use of the new certificate: the API server learns of it by a watch."""
DRAIN = 2.0
"""Seconds for which a pod that is to end still answers: until nobody sends it anything any more."""


@dataclass(frozen=True)
class Certificate:
    """What the Secret holds: a key pair, and the authorities that the API server should trust."""

    pair: x509.Pair
    authorities: str


async def run(webhooks: Sequence[AdmissionWebhook], service: str, port: int, every: float = 30.0) -> None:
    """Serve webhooks as one pod behind `service` until SIGTERM; every so many seconds look after the certificate.

    Raises ConnectError outside a pod; ApiError or Unreachable when the first certificate cannot be had.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await in_cluster()
    namespace = (service_account_dir() / "namespace").read_text().strip()
    try:
        certificate = await current_certificate(client, service, namespace)
        host = os.environ.get("K8SEXT_BIND_ADDRESS", "0.0.0.0")
        server = WebhookServer(webhooks, server_context(certificate.pair), host, port)
        server.ready = False
        await server.start()
        log.info("serving %s on %s:%d", ", ".join(webhook.full_name for webhook in webhooks), host, port)
        while not stop.is_set():
            certificate = await _look_after(client, service, namespace, webhooks, server, certificate)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every if server.ready else 1.0)
        server.ready = False
        await asyncio.sleep(DRAIN)
        await server.stop()
    finally:
        await client.close()


async def _look_after(
    client: ApiClient,
    service: str,
    namespace: str,
    webhooks: Sequence[AdmissionWebhook],
    server: WebhookServer,
    shown: Certificate,
) -> Certificate:
    """Publish the authorities, then show the certificate in force; returns it. If it cannot, nothing changes."""
    try:
        certificate = await current_certificate(client, service, namespace)
        await publish(client, webhooks, certificate.authorities)
        if certificate != shown:
            await asyncio.sleep(TRUST_DELAY)
            server.rotate(certificate.pair)
            log.info("showing a new certificate")
        server.ready = True
        return certificate
    except (ApiError, Unreachable) as error:
        log.warning("the certificate could not be looked after: %s", error)
        return shown


async def current_certificate(client: ApiClient, service: str, namespace: str) -> Certificate:
    """The certificate in the Secret; made anew, for all replicas, where there is none or it ends soon."""
    path = SECRETS.path(secret_name(service), namespace)
    while True:
        secret = await request(client, "GET", path)
        found = _decoded(secret)
        if found and x509.time_left(found.pair.certificate) > RENEW_AT:
            return found
        made = _new(service, namespace, found)
        secret["data"] = _encoded(made)
        try:
            await request(client, "PUT", path, secret)
        except ApiError as error:
            if error.code != 409:  # a conflict: another replica was first, see what it wrote
                raise
        else:
            log.info("wrote a new certificate into the secret %s", secret_name(service))
            return made


async def publish(client: ApiClient, webhooks: Sequence[AdmissionWebhook], authorities: str) -> None:
    """Write the authorities into the caBundle of each configuration, where they do not stand there already."""
    bundle = ca_bundle(authorities)
    for webhook in webhooks:
        path = RESOURCES[webhook.kind].path(webhook.full_name)
        there = await request(client, "GET", path)
        if there["webhooks"][0]["clientConfig"].get("caBundle") != bundle:
            change = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]
            await request(client, "PATCH", path, change, content_type=JSON_PATCH)


def _new(service: str, namespace: str, former: Certificate | None) -> Certificate:
    """A certificate of an authority of its own, whose key is forgotten at once: nobody can sign another one with it."""
    authority = x509.authority(f"{service}.{namespace}", LIFETIME)
    pair = x509.issue(authority, service, hosts=[f"{service}.{namespace}.svc"], lifetime=LIFETIME)
    return Certificate(pair, authority.certificate + (_first(former.authorities) if former else ""))


def _first(certificates: str) -> str:
    end = "-----END CERTIFICATE-----\n"
    return certificates.split(end)[0] + end


def _encoded(certificate: Certificate) -> dict[str, str]:
    pair = certificate.pair
    texts = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": certificate.authorities}
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


def _decoded(secret: Json) -> Certificate | None:
    try:
        texts = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
        found = Certificate(x509.Pair(texts["tls.crt"], texts["tls.key"]), texts["ca.crt"])
        x509.time_left(found.pair.certificate)
        return found
    except (KeyError, ValueError):
        return None
