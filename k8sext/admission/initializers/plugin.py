"""What the API server did itself in Kubernetes 1.9, done from outside: two webhooks, and a hand that removes what has failed.

`stamp` (mutating) gives a new object its pending list and its hold, and releases it with the last name. `guard` (validating) keeps the
rules of that list, and asks by SubjectAccessReview whether the user may `initialize`. Both are asked about every creation of the
chosen resources, and about changes only of objects that carry our annotations or label: all others need no webhook to be up.

Different from 1.9: what is not among the chosen resources is never initialized; an object that is being deleted may be changed by
everybody who may change it at all, or else the garbage collector could not finish its work; and a stored object has the
immutable fields of every other one. Then, the containers and volumes of a pod could be changed as long as it was uninitialized. Now, an
initializer of pods changes labels, annotations and images, and makes what the pod refers to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from k8sext.admission.functions import mutating, validating
from k8sext.admission.initializers.background import Background, remember
from k8sext.admission.initializers.configurations import configurations
from k8sext.admission.initializers.controller import follow
from k8sext.admission.initializers.holds import check, settle
from k8sext.admission.initializers.model import (
    GROUP,
    UNINITIALIZED,
    Decision,
    Invalid,
    Resource,
    on_create,
    on_update,
    read,
    validate,
)
from k8sext.admission.review import AdmissionRequest, Denied, Json
from k8sext.admission.serving import Serving, serve
from k8sext.kube.connect import ConnectError, from_kubeconfig
from k8sext.kube.request import MERGE_PATCH, ApiError, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

TIMEOUT = 5
OURS = (
    "request.operation == 'CREATE' || [object, oldObject].exists(o,"
    f" (has(o.metadata.annotations) && o.metadata.annotations.exists(key, key.startsWith('{GROUP}/')))"
    f" || (has(o.metadata.labels) && '{UNINITIALIZED}' in o.metadata.labels))"
)


def stamp(item: Json, old: Json | None, resource: Resource, configured: Sequence[Json]) -> Decision:
    """Change an object that is to be stored into what is stored: initializers in order, held or released. Raises Invalid."""
    decision = on_create(item, resource, configured) if old is None else on_update(item, old)
    settle(item, resource, decision.initializers, old)
    return decision


def guard(item: Json, old: Json | None, resource: Resource) -> str:
    """Check what is about to be stored; returns the objection that stands unless the user may `initialize`. Raises Invalid."""
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
        self._background = Background(self._remove_failed, "initializer plugin")
        try:
            self.serving: Serving = serve(*self._webhooks(), kubeconfig=kubeconfig)
        except BaseException:
            self._background.stop()
            raise

    def stop(self) -> None:
        """Switch off: nothing is stamped any more. What is uninitialized stays so until somebody who may takes the names away."""
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
        options: Any = {
            "on": ["CREATE", "UPDATE"],
            "namespaces": self._namespaces,
            "match_conditions": {"ours": OURS},
            "timeout": TIMEOUT,
        }
        return (
            mutating(*self._resources, name="initializers-stamp", **options)(self._stamp),
            validating(*self._resources, name="initializers-guard", **options)(self._guard),
        )

    async def _stamp(self, item: Json, asked: AdmissionRequest) -> None:
        try:
            is_new = asked.operation == "CREATE"
            configured = await self._ask(configurations(self._client)) if is_new and read(item) is None else []
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
        if not await self._ask(may_initialize(self._client, asked)):
            raise Denied(
                f'{_name(asked)} is forbidden: {objection}: {asked.user} may not "initialize" {asked.resource}'
            )

    async def _ask(self, work: Any) -> Any:
        """The client lives in the loop of the background thread, the webhooks live in another one."""
        return await self._background.ask(work)

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
            version = {"resourceVersion": metadata["resourceVersion"]}
            await request(
                self._client, "PATCH", path, {"metadata": version | {"finalizers": None}}, content_type=MERGE_PATCH
            )
        options = {
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        await request(self._client, "DELETE", path, options)
        log.info("%s was removed: %s", path, found.result.get("message"))


def switch_on(*resources: str, namespaces: Sequence[str] = (), kubeconfig: Path | str | None = None) -> Plugin:
    """Make initializers work for these resources (as kubectl writes them), in these namespaces or in all but the cluster's own.

    kubeconfig names an administrator's (default: $KUBECONFIG). Raises ConnectError, RegistrationError or ValueError.
    """
    file = kubeconfig or os.environ.get("KUBECONFIG")
    if not file:
        raise ConnectError("name the kubeconfig of an administrator, or set KUBECONFIG")
    plugin = Plugin(resources, namespaces, Path(file))
    remember(plugin)
    return plugin


async def may_initialize(client: ApiClient, asked: AdmissionRequest) -> bool:
    """Whether the user who sent a request may `initialize` the object it is about."""
    about = {
        "verb": "initialize",
        "group": asked.group,
        "version": asked.version,
        "resource": asked.resource,
        "namespace": asked.namespace,
        "name": asked.name,
    }
    user = asked.user_info
    spec = {"user": asked.user, "resourceAttributes": about}
    spec |= {key: user[key] for key in ("groups", "uid", "extra") if user.get(key)}
    try:
        answer = await request(
            client, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec}, timeout=3
        )
    except ApiError as error:
        raise Denied(
            f"nobody can say whether {asked.user} may initialize {asked.resource}: {error}", code=500
        ) from error
    return answer["status"]["allowed"]


def _resource(asked: AdmissionRequest) -> Resource:
    return Resource(asked.group, asked.version, asked.resource)


def _name(asked: AdmissionRequest) -> str:
    return f'{_resource(asked)} "{asked.name}"'


def _invalid(asked: AdmissionRequest, error: Invalid) -> Denied:
    return Denied(f"{_name(asked)} is invalid: {error}", code=422, reason="Invalid")
