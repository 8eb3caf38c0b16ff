"""Registered webhooks: the objects by which the API server knows them, put there and taken away again.

Each webhook gets a configuration of its own, with its name. A configuration that is left behind by a kernel that was killed stops
every request it matches (failurePolicy: Fail), so each says which process serves it, and the next start removes those of the dead.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import psutil

from k8sext.admission.functions import DOMAIN, EXEMPT_NAMESPACES, AdmissionWebhook
from k8sext.admission.review import Json
from k8sext.kube.request import ApiError, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

API = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {"validating": "validatingwebhookconfigurations", "mutating": "mutatingwebhookconfigurations"}
KINDS = {"validating": "ValidatingWebhookConfiguration", "mutating": "MutatingWebhookConfiguration"}
SERVED_BY = f"{DOMAIN}/served-by"
"""Label on what a process registered for itself; the annotation of the same name says which process."""
PROBE_LABEL = f"{DOMAIN}/probe"
SETTLE_LIMIT = 15.0


class RegistrationError(Exception):
    """A webhook cannot be registered; the message says why and what to do."""


def configuration(webhook: AdmissionWebhook, client_config: Json, exempt: Sequence[str] = ()) -> Json:
    """The configuration object of one webhook; client_config says where the API server finds it (url or service, and caBundle).

    It is never asked about namespaces that are exempt, nor about those of the cluster itself, unless it names its namespaces.
    """
    entry: Json = {
        "name": webhook.full_name,
        "clientConfig": client_config,
        "rules": list(webhook.rules),
        "admissionReviewVersions": ["v1"],
        "sideEffects": webhook.side_effects,
        "failurePolicy": webhook.failure_policy,
        "timeoutSeconds": webhook.timeout,
        "namespaceSelector": {"matchExpressions": [_namespaces(webhook, exempt)]},
    }
    if webhook.object_labels:
        entry["objectSelector"] = {"matchLabels": dict(webhook.object_labels)}
    if webhook.match_conditions:
        entry["matchConditions"] = [{"name": n, "expression": e} for n, e in webhook.match_conditions.items()]
    if webhook.kind == "mutating":
        entry["reinvocationPolicy"] = webhook.reinvocation
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": KINDS[webhook.kind],
        "metadata": {"name": webhook.full_name},
        "webhooks": [entry],
    }


def _namespaces(webhook: AdmissionWebhook, exempt: Sequence[str]) -> Json:
    operator, names = ("In", webhook.namespaces) if webhook.namespaces else ("NotIn", [*EXEMPT_NAMESPACES, *exempt])
    return {"key": "kubernetes.io/metadata.name", "operator": operator, "values": list(names)}


def ca_bundle(certificates: str) -> str:
    """PEM text as a configuration's caBundle."""
    return base64.b64encode(certificates.encode()).decode()


class Registration:
    """What this process has registered at one API server. `probed` tells whether a probe of that name has arrived."""

    def __init__(self, client: ApiClient, base_url: str, authority: str, probed: Callable[[str], bool]) -> None:
        self._client = client
        self._base_url = base_url
        self._authority = ca_bundle(authority)
        self._probed = probed
        self._versions: dict[tuple[str, str], str] = {}

    async def put(self, webhooks: Iterable[AdmissionWebhook]) -> None:
        """Remove what dead processes left, register these webhooks, and wait until the API server calls them.

        Raises RegistrationError; then nothing stays registered.
        """
        webhooks = list(webhooks)
        await remove_stale(self._client)
        try:
            for webhook in webhooks:
                await self._put(webhook)
            await self._settle({webhook.kind for webhook in webhooks})
        except BaseException:
            await asyncio.shield(self._remove_all())
            raise

    async def remove(self) -> None:
        """Take everything away, and wait until the API server no longer calls it."""
        kinds = {kind for kind, _ in self._versions}
        await self._remove_all()
        await self._settle(kinds)

    async def _put(self, webhook: AdmissionWebhook) -> None:
        """Create the configuration, or replace the one that an earlier cell of this very process has put there."""
        body = configuration(webhook, {"url": self._base_url + webhook.path, "caBundle": self._authority})
        body["metadata"] |= {"labels": {SERVED_BY: "process"}, "annotations": {SERVED_BY: _this_process()}}
        path, name = f"{API}/{PLURALS[webhook.kind]}", webhook.full_name
        try:
            made = await request(self._client, "POST", path, body)
        except ApiError as error:
            if error.code != 409:
                raise RegistrationError(f"the API server refuses the webhook {name}: {error.message}") from error
            there = await request(self._client, "GET", f"{path}/{name}")
            if _server_of(there) != _this_process():
                raise RegistrationError(
                    f"{name} is registered already by {_server_of(there) or 'somebody else'}: "
                    "stop that one first, or give this function another name"
                ) from error
            body["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            made = await request(self._client, "PUT", f"{path}/{name}", body)
        self._versions[webhook.kind, name] = made["metadata"]["resourceVersion"]

    async def _remove_all(self) -> None:
        """Remove what is still as we have put it: a later cell may have replaced it, and then it is that one's."""
        for (kind, name), version in list(self._versions.items()):
            await _delete(self._client, kind, name, version)
            del self._versions[kind, name]

    async def _settle(self, kinds: set[str]) -> None:
        """Wait until the API server acts on what was written: it learns of it by a watch, some milliseconds later.

        A probe, written last, proves it: the watch brings changes in order, so when a dry run of a ConfigMap with the
        probe's label comes by here, everything before the probe counts, too.
        """
        for kind in kinds:
            probe = f"{kind}-{uuid.uuid4().hex[:12]}"
            body = _probe_configuration(kind, probe, f"{self._base_url}/probe/{probe}", self._authority)
            made = await request(self._client, "POST", f"{API}/{PLURALS[kind]}", body)
            try:
                await self._await_probe(probe)
            finally:
                await asyncio.shield(_delete(self._client, kind, made["metadata"]["name"]))

    async def _await_probe(self, probe: str) -> None:
        trial = {"metadata": {"name": probe, "labels": {PROBE_LABEL: probe}}}
        last = "no call arrived"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_LIMIT):
                while True:
                    try:
                        await request(
                            self._client,
                            "POST",
                            "/api/v1/namespaces/default/configmaps",
                            trial,
                            query={"dryRun": "All"},
                        )
                    except ApiError as error:
                        last = error.message
                    if self._probed(probe):
                        return
                    await asyncio.sleep(0.02)
        raise RegistrationError(f"the API server does not call webhooks at {self._base_url}: {last}")


async def remove_stale(client: ApiClient) -> list[str]:
    """Remove the configurations whose serving process on this machine is dead; returns their names."""
    removed = []
    for kind, plural in PLURALS.items():
        found = await request(client, "GET", f"{API}/{plural}", query={"labelSelector": SERVED_BY})
        for item in found["items"] or []:
            if not _is_served(_server_of(item)):
                await _delete(client, kind, item["metadata"]["name"], item["metadata"]["resourceVersion"])
                removed.append(item["metadata"]["name"])
    return removed


async def _delete(client: ApiClient, kind: str, name: str, version: str = "") -> None:
    """Delete a configuration if it is there, and if still of that version."""
    options = {"preconditions": {"resourceVersion": version}} if version else {}
    try:
        await request(client, "DELETE", f"{API}/{PLURALS[kind]}/{name}", options)
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def _probe_configuration(kind: str, probe: str, url: str, authority: str) -> Json:
    entry = {
        "name": f"{probe}.{DOMAIN}",
        "clientConfig": {"url": url, "caBundle": authority},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]},
        ],
        "objectSelector": {"matchLabels": {PROBE_LABEL: probe}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 1,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": KINDS[kind],
        "metadata": {
            "name": f"{probe}.{DOMAIN}",
            "labels": {SERVED_BY: "process"},
            "annotations": {SERVED_BY: _this_process()},
        },
        "webhooks": [entry],
    }


def _this_process() -> str:
    """Machine, number and start of this process: a number alone is given again to another."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def _server_of(item: Json) -> str:
    return item["metadata"].get("annotations", {}).get(SERVED_BY, "")


def _is_served(server: str) -> bool:
    """Whether the process still runs; of another machine's we know nothing and believe the best."""
    try:
        machine, pid, started = server.split(" ")
        if machine != socket.gethostname():
            return True
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False
    except ValueError:
        return True
