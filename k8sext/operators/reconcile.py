"""Make it so: carry out what `plan` decided about one report.

Every step can be repeated and can meet somebody who was faster. Writes carry the resource version or the uid they were
decided on, so a controller with an old picture of the world is refused (409) instead of undoing what a newer one did.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from k8sext.kube.objects import Json, reference_to
from k8sext.kube.request import MERGE_PATCH, ApiError, request
from k8sext.kube.resource import PODS, Resource
from k8sext.operators.plan import Plan, plan
from k8sext.resources import GROUP, NAMES, VERSION

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

REPORTS = Resource(GROUP, VERSION, NAMES.plural)


class Recorder(Protocol):
    """Takes events: `k8sext.kube.events.EventRecorder`, or something quieter."""

    def event(self, reference: Json, type: str, reason: str, message: str) -> None:
        """Note that something happened to an object."""


async def reconcile(client: ApiClient, report: Json, pods: Sequence[Json], recorder: Recorder | None = None) -> Plan:
    """Bring the world nearer to what a report asks for, and return what was decided.

    Raises ApiError and Unreachable; then try again later. A 409 means that our picture is old, and the next look will
    have a newer one.
    """
    decision = plan(report, pods, time.time())
    # The status comes first: a pod may only write its report when the old one is out of the way.
    await _write_status(client, report, decision, recorder)
    if decision.create:
        await _create(client, report, decision.create, recorder)
    for pod in decision.delete:
        await _delete(client, pod)
    return decision


async def _write_status(client: ApiClient, report: Json, decision: Plan, recorder: Recorder | None) -> None:
    before = report.get("status", {})
    if not decision.drop_report and all(before.get(name) == value for name, value in decision.status.items()):
        return
    metadata = report["metadata"]
    status = decision.status | ({"report": None} if decision.drop_report else {})
    path = REPORTS.path(metadata["name"], metadata["namespace"], "status")
    body = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}, "status": status}
    await request(client, "PATCH", path, body, content_type=MERGE_PATCH)
    state = decision.status["state"]
    if recorder and state in ("Ready", "Failed", "Pending"):
        condition = decision.status["conditions"][0]
        kind = "Normal" if state == "Ready" else "Warning"
        recorder.event(reference_to(report), kind, condition["reason"], condition["message"])


async def _create(client: ApiClient, report: Json, pod: Json, recorder: Recorder | None) -> None:
    try:
        await request(client, "POST", PODS.collection(pod["metadata"]["namespace"]), pod)
    except ApiError as error:
        if recorder and error.code != 409:  # 409: it is there already, we have only not seen it yet
            recorder.event(reference_to(report), "Warning", "FailedCreate", str(error))
        raise
    if recorder:
        recorder.event(reference_to(report), "Normal", "Created", f"Created pod {pod['metadata']['name']}.")


async def _delete(client: ApiClient, pod: Json) -> None:
    metadata = pod["metadata"]
    path = PODS.path(metadata["name"], metadata["namespace"])
    try:
        # by uid: a new pod of the same name is not the one we decided about
        await request(client, "DELETE", path, {"preconditions": {"uid": metadata["uid"]}})
    except ApiError as error:
        if error.code != 404:
            raise
