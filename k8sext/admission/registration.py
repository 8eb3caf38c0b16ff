"""Registered webhooks: the objects by which the API server knows them, put there and taken away again.

Each webhook gets a configuration of its own, with its name. A configuration that is left behind by a kernel that was
killed stops every request it matches (failurePolicy: Fail), so each says which process serves it, and the next start
removes those of the dead.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import psutil

from k8sext.admission.functions import DOMAIN, EXEMPT_NAMESPACES, AdmissionWebhook, Kind
from k8sext.kube.blocking import BlockingClient
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable
from k8sext.kube.resource import CONFIG_MAPS, Resource

GROUP = "admissionregistration.k8s.io"
RESOURCES = {
    "validating": Resource(GROUP, "v1", "validatingwebhookconfigurations", namespaced=False),
    "mutating": Resource(GROUP, "v1", "mutatingwebhookconfigurations", namespaced=False),
}
KINDS = {"validating": "ValidatingWebhookConfiguration", "mutating": "MutatingWebhookConfiguration"}
SERVED_BY = f"{DOMAIN}/served-by"
"""Label on what a process registered for itself; the annotation of the same name says which process."""
PROBE_LABEL = f"{DOMAIN}/probe"
PROBE_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
SETTLE_LIMIT = 15.0


class RegistrationError(Exception):
    """A webhook cannot be registered; the message says why and what to do."""


def configuration(webhook: AdmissionWebhook, client_config: Json, exempt: Sequence[str] = ()) -> Json:
    """The configuration object of one webhook; client_config says where it is (url or service, and caBundle).

    It is never asked about namespaces that are exempt, nor about those of the cluster itself, unless it names its
    namespaces.
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
        "apiVersion": RESOURCES[webhook.kind].api_version,
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
    """What this process has registered at one API server. `probed` tells whether a probe of that name has arrived.

    All of it blocks: to take a registration away must never depend on the loop that serves it, nor on a thread.
    """

    _all: ClassVar[list[Registration]] = []
    """Those of this process whose webhooks are being served."""

    def __init__(self, client: BlockingClient, base_url: str, authority: str, probed: Callable[[str], bool]) -> None:
        self._client = client
        self._base_url = base_url
        self._authority = ca_bundle(authority)
        self._probed = probed
        self._versions: dict[tuple[Kind, str], str] = {}
        """By kind and name of what is registered: its resource version."""

    def put(self, webhooks: Iterable[AdmissionWebhook]) -> None:
        """Remove what is no longer served, register these webhooks, and wait until the API server calls them.

        Raises RegistrationError; then nothing stays registered.
        """
        webhooks = list(webhooks)
        remove_stale(self._client)
        Registration._all.append(self)
        try:
            for webhook in webhooks:
                self._put(webhook)
            self.settle({webhook.kind for webhook in webhooks})
        except BaseException:
            with contextlib.suppress(ApiError, Unreachable):
                self.remove()
            raise

    def remove(self) -> set[Kind]:
        """Take everything away that is still as we have put it; returns the kinds that were there. A second time it
        does nothing.

        What a later cell has replaced is that one's. Raises Unreachable or ApiError; then it can be called again, or
        the next `put` of this process does it.
        """
        if self in Registration._all:
            Registration._all.remove(self)
        kinds: set[Kind] = {kind for kind, _ in self._versions}
        for (kind, name), version in list(self._versions.items()):
            _delete(self._client, kind, name, version)
            del self._versions[kind, name]
        return kinds

    def settle(self, kinds: Iterable[Kind], limit: float = SETTLE_LIMIT) -> None:
        """Wait until the API server acts on what was written: it learns of it by a watch, some milliseconds later.

        A probe, written last, proves it: the watch brings changes in order, so when a dry run of a ConfigMap with the
        probe's label comes by here, everything before the probe counts, too. Raises RegistrationError after limit
        seconds.
        """
        for kind in kinds:
            probe = _probe(kind, f"{kind}-{uuid.uuid4().hex[:12]}")
            self._versions[kind, probe.full_name] = ""
            self._client.request("POST", RESOURCES[kind].collection(), self._body(probe, f"/probe/{probe.name}"))
            try:
                self._await_probe(probe.name, limit)
            finally:
                _delete(self._client, kind, probe.full_name)
                del self._versions[kind, probe.full_name]

    def _body(self, webhook: AdmissionWebhook, path: str) -> Json:
        """The configuration of a webhook that this process serves at a path."""
        body = configuration(webhook, {"url": self._base_url + path, "caBundle": self._authority})
        body["metadata"] |= {"labels": {SERVED_BY: "process"}, "annotations": {SERVED_BY: _this_process()}}
        return body

    def _put(self, webhook: AdmissionWebhook) -> None:
        """Create the configuration, or replace the one that an earlier cell of this very process has put there."""
        resource, name, body = RESOURCES[webhook.kind], webhook.full_name, self._body(webhook, webhook.path)
        try:
            made = self._client.request("POST", resource.collection(), body)
        except ApiError as error:
            if error.code != 409:
                raise RegistrationError(f"the API server refuses the webhook {name}: {error.message}") from error
            there = self._client.request("GET", resource.path(name))
            if _server_of(there) != _this_process():
                raise RegistrationError(
                    f"{name} is registered already by {_server_of(there) or 'somebody else'}: "
                    "stop that one first, or give this function another name"
                ) from error
            body["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            made = self._client.request("PUT", resource.path(name), body)
        self._versions[webhook.kind, name] = made["metadata"]["resourceVersion"]

    def _await_probe(self, probe: str, limit: float) -> None:
        trial = {"metadata": {"name": probe, "labels": {PROBE_LABEL: probe}}}
        deadline, last = time.monotonic() + limit, "no call arrived"
        while time.monotonic() < deadline:
            try:
                self._client.request("POST", CONFIG_MAPS.collection("default"), trial, query={"dryRun": "All"})
            except ApiError as error:
                last = error.message
            if self._probed(probe):
                return
            time.sleep(0.02)
        raise RegistrationError(f"the API server does not call webhooks at {self._base_url}: {last}")

    def _holds(self, kind: str, name: str) -> bool:
        return (kind, name) in self._versions


def remove_stale(client: BlockingClient) -> list[str]:
    """Remove the configurations that nobody serves any more, here or in this process; returns their names."""
    removed = []
    for kind, resource in RESOURCES.items():
        found = client.request("GET", resource.collection(), query={"labelSelector": SERVED_BY})
        for item in found["items"] or []:
            name = item["metadata"]["name"]
            if not _is_served(kind, name, _server_of(item)):
                _delete(client, kind, name, item["metadata"]["resourceVersion"])
                removed.append(name)
    return removed


def _delete(client: BlockingClient, kind: str, name: str, version: str = "") -> None:
    """Delete a configuration if it is there, and if still of that version."""
    options = {"preconditions": {"resourceVersion": version}} if version else {}
    try:
        client.request("DELETE", RESOURCES[kind].path(name), options)
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def _probe(kind: Kind, name: str) -> AdmissionWebhook:
    return AdmissionWebhook(
        function=lambda *_: None,
        kind=kind,
        name=name,
        rules=(PROBE_RULE,),
        namespaces=["default"],
        object_labels={PROBE_LABEL: name},
        failure_policy="Ignore",
        timeout=1,
    )


def _this_process() -> str:
    """Machine, number and start of this process: a number alone is given again to another."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def _server_of(item: Json) -> str:
    return item["metadata"].get("annotations", {}).get(SERVED_BY, "")


def _is_served(kind: str, name: str, server: str) -> bool:
    """Whether somebody answers for a configuration; of another machine's we know nothing and believe the best."""
    if server == _this_process():
        return any(registration._holds(kind, name) for registration in Registration._all)
    try:
        machine, pid, started = server.split(" ")
        if machine != socket.gethostname():
            return True
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False
    except ValueError:
        return True
