"""What the API server did itself in Kubernetes 1.9, done from outside: two webhooks, and a controller for what failed.

`stamp` (mutating) gives a new object its pending list and its hold, and releases it with the last name. `guard`
(validating) keeps the rules of that list, and asks by SubjectAccessReview whether the user may `initialize`. Both are
asked about every creation of the chosen resources, and about changes only of objects that carry our annotations or
label: all others need no webhook to be up.

Different from 1.9: what is not among the chosen resources is never initialized; an object that is being deleted may be
changed by everybody who may change it at all, or else the garbage collector could not finish its work; and a stored
object has the immutable fields of every other one. Then, the containers and volumes of a pod could be changed as long
as it was uninitialized. Now, an initializer of pods changes labels, annotations and images, and makes what the pod
refers to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from k8sext.admission.functions import mutating, validating
from k8sext.admission.initializers.controller import follow
from k8sext.admission.initializers.holds import check, settle
from k8sext.admission.initializers.model import (
    GROUP,
    UNINITIALIZED,
    Decision,
    Invalid,
    on_create,
    on_update,
    read,
    validate,
)
from k8sext.admission.initializers.serving import remember
from k8sext.admission.review import AdmissionRequest, Denied
from k8sext.admission.serving import Serving, serve
from k8sext.kube.background import BackgroundTask
from k8sext.kube.connect import ConnectError, from_kubeconfig
from k8sext.kube.objects import Json
from k8sext.kube.request import MERGE_PATCH, ApiError, Unreachable, request
from k8sext.kube.resource import Resource

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

TIMEOUT = 5
CONFIGURATIONS = Resource(GROUP, "v1alpha1", "initializerconfigurations", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)
OURS = (
    "request.operation == 'CREATE' || [object, oldObject].exists(o,"
    f" (has(o.metadata.annotations) && o.metadata.annotations.exists(key, key.startsWith('{GROUP}/')))"
    f" || (has(o.metadata.labels) && '{UNINITIALIZED}' in o.metadata.labels))"
)


def stamp(item: Json, old: Json | None, resource: Resource, configured: Sequence[Json]) -> Decision:
    """Change an object that is to be stored into what is stored: in order, held or released. Raises Invalid."""
    decision = on_create(item, resource, configured) if old is None else on_update(item, old)
    settle(item, resource, decision.initializers, old)
    return decision


def guard(item: Json, old: Json | None, resource: Resource) -> str:
    """Check what is to be stored; returns the objection unless the user may `initialize`. Raises Invalid."""
    found = read(item)
    validate(found)
    check(item, resource, found)
    if old is None:
        return ""  # the question was asked when the object still was as the client sent it
    is_leaving = "deletionTimestamp" in item["metadata"] and found == read(old)
    return "" if is_leaving else on_update(item, old).objection


class Plugin:
    """Initializers, switched on at one API server. Made by `switch_on`."""

    def __init__(self, resources: Sequence[str], namespaces: Sequence[str], kubeconfig: Path) -> None:
        self._resources, self._namespaces = tuple(resources), tuple(namespaces)
        self._kubeconfig = kubeconfig
        self._client: Any = None
        self._background = BackgroundTask(self._remove_failed, "initializer plugin")
        try:
            self.serving: Serving = serve(*self._webhooks(), kubeconfig=kubeconfig)
        except BaseException:
            self._background.stop()
            raise

    def stop(self) -> None:
        """Switch off: nothing is stamped any more. What is uninitialized waits for somebody who may take the names
        away."""
        self.serving.stop()
        self._background.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"initializers for {', '.join(self._resources)}: " + (
            "switched on" if self._background.running else "switched off"
        )

    def _webhooks(self) -> tuple[Any, Any]:
        options: Any = {"namespaces": self._namespaces, "match_conditions": {"ours": OURS}, "timeout": TIMEOUT}
        return (
            mutating(*self._resources, name="initializers-stamp", **options)(self._stamp),
            validating(*self._resources, name="initializers-guard", **options)(self._guard),
        )

    async def _stamp(self, item: Json, asked: AdmissionRequest) -> None:
        try:
            is_new = asked.operation == "CREATE"
            configured = (
                await self._background.ask(configurations(self._client)) if is_new and read(item) is None else []
            )
            decision = stamp(item, asked.old_object, _resource(asked), configured)
        except Invalid as error:
            raise _invalid(asked, error) from error
        if is_new and decision.objection:
            await self._check_right(asked, decision.objection)

    async def _guard(self, item: Json, asked: AdmissionRequest) -> None:
        try:
            objection = guard(item, asked.old_object, _resource(asked))
        except Invalid as error:
            raise _invalid(asked, error) from error
        if objection:
            await self._check_right(asked, objection)

    async def _check_right(self, asked: AdmissionRequest, objection: str) -> None:
        # The client lives in another loop than the webhooks.
        if not await self._background.ask(may_initialize(self._client, asked)):
            forbidden = f'{asked.user} may not "initialize" {asked.resource}'
            raise Denied(f"{_name(asked)} is forbidden: {objection}: {forbidden}")

    async def _remove_failed(self, ready: Callable[[], None]) -> None:
        self._client = await from_kubeconfig(self._kubeconfig)
        try:
            await follow(self._client, self._resources, self._namespaces, self._remove_if_failed, ready)
        finally:
            await self._client.close()

    async def _remove_if_failed(self, item: Json, path: str) -> None:
        """Delete an object whose initialization failed, without waiting for its finalizers."""
        found = read(item)
        if found is None or found.result is None:
            return
        metadata = item["metadata"]
        if metadata.get("finalizers"):
            change = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": None}}
            await request(self._client, "PATCH", path, change, content_type=MERGE_PATCH)
        options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        await request(self._client, "DELETE", path, options | {"preconditions": {"uid": metadata["uid"]}})
        log.info("%s was removed: %s", path, found.result.get("message"))


def switch_on(*resources: str, namespaces: Sequence[str] = (), kubeconfig: Path | str | None = None) -> Plugin:
    """Make initializers work for these resources (as kubectl writes them), in these namespaces (none: all but the
    cluster's).

    kubeconfig names an administrator's (default: $KUBECONFIG). Raises ConnectError, RegistrationError or ValueError.
    """
    file = kubeconfig or os.environ.get("KUBECONFIG")
    if not file:
        raise ConnectError("name the kubeconfig of an administrator, or set KUBECONFIG")
    plugin = Plugin(resources, namespaces, Path(file))
    remember(plugin.stop)
    return plugin


async def configurations(client: ApiClient) -> list[Json]:
    """All configurations, as the API server's cache has them: some milliseconds old, where 1.9 looked once a second.

    (A read without resourceVersion=0 would be exact, and wait up to 0.1 s for the proof of it, at every creation.)
    Without the type, or without the right to read it, initializers are switched off: none. Raises Denied when they
    cannot be read, so that nothing is created which should have been initialized.
    """
    path, query = CONFIGURATIONS.collection(), {"resourceVersion": "0"}
    try:
        return (await request(client, "GET", path, query=query, timeout=3))["items"] or []
    except (ApiError, Unreachable) as error:
        if isinstance(error, ApiError) and error.code in (403, 404):
            return []
        message = f"Unable to refresh the initializer configuration: {error}"
        raise Denied(message, code=500, reason="LoadingConfiguration") from error


async def may_initialize(client: ApiClient, asked: AdmissionRequest) -> bool:
    """Whether the user who sent a request may `initialize` the object it is about."""
    about = {key: getattr(asked, key) for key in ("group", "version", "resource", "namespace", "name")}
    spec = {"user": asked.user, "resourceAttributes": {"verb": "initialize", **about}}
    spec |= {key: asked.user_info[key] for key in ("groups", "uid", "extra") if asked.user_info.get(key)}
    try:
        answer = await request(client, "POST", ACCESS_REVIEWS.collection(), {"spec": spec}, timeout=3)
    except ApiError as error:
        sentence = f"nobody can say whether {asked.user} may initialize {asked.resource}: {error}"
        raise Denied(sentence, code=500) from error
    return answer["status"]["allowed"]


def _resource(asked: AdmissionRequest) -> Resource:
    return Resource(asked.group, asked.version, asked.resource)


def _name(asked: AdmissionRequest) -> str:
    return f'{_resource(asked)} "{asked.name}"'


def _invalid(asked: AdmissionRequest, error: Invalid) -> Denied:
    return Denied(f"{_name(asked)} is invalid: {error}", code=422, reason="Invalid")
