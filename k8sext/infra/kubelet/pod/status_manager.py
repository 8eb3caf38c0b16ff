"""Tell the API server the status of a pod: the newest one only, one request at a time, and only what it does not show.

As the kubelet's status manager (pkg/kubelet/status/status_manager.go).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from k8sext.infra.kubelet.pod.conditions import RESIZE
from k8sext.infra.kubelet.pod.podspec import TERMINAL, is_terminal, path, uid
from k8sext.infra.kubelet.shown import covers
from k8sext.kube.objects import Json, condition_of, key_of
from k8sext.kube.request import STRATEGIC_MERGE_PATCH, ApiError, Unreachable, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)

LISTS_OF_OUR_OWN = ("podIPs", "hostIPs")
"""Their key is the address, so a patch would put a new one beside the old; they are replaced as a whole."""
FOR_GOOD = (400, 404, 409, 413, 422)
"""Answers to a status that it will get again: the pod is gone, or another has its name, or the status is refused."""


class StatusManager:
    """The status of one pod on its way to the API server. Nobody waits for it, unless `flush` is called."""

    def __init__(self, client: ApiClient, phase: str) -> None:
        """`phase` is the one that the server shows."""
        self._client, self._phase = client, phase
        self._wanted: tuple[Json, Json] | None = None
        self._told: Json = {}
        self._told_at = 0
        self._task: asyncio.Task[None] | None = None

    def report(self, pod: Json, status: Json, *, running: bool = False) -> None:
        """Let this be the status of the pod soon. A status that the server shows already is not sent.

        While containers are `running` nobody hears that the pod has ended: its resources would be given away (as
        mergePodStatus has it).
        """
        if running and status["phase"] in TERMINAL and self._phase not in TERMINAL:
            kept = {key: value for key, value in status.items() if key not in ("reason", "message")}
            status = kept | {"phase": self._phase}
        self._phase = status["phase"]
        if self._wanted or self._told:
            # what is wanted and not under way was given up by an error that nobody knew
            given_up = self._wanted and self._task and self._task.done()
            if given_up or status != (self._wanted[1] if self._wanted else self._told):
                self._want(pod, status)
        elif covers(pod.get("status", {}), status):
            self._told, self._told_at = status, _version(pod)
        else:
            self._want(pod, status)

    def see(self, pod: Json) -> None:
        """The API server shows the pod so. What another has written over our status since we told it is told again."""
        if not self._told or self._wanted or is_terminal(pod) or _version(pod) <= self._told_at:
            return
        if not covers(pod.get("status", {}), self._told):
            self._want(pod, self._told)

    async def flush(self) -> None:
        """Return when what was reported is told, or refused for good."""
        if self._task:
            await asyncio.shield(self._task)

    async def let_go(self, pod: Json) -> None:
        """Take a pod whose deletion was asked for, and of which nothing is left here, from the API server. Raises
        ApiError, Unreachable."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid(pod)}}
        try:
            await request(self._client, "DELETE", path(pod), options)
        except ApiError as error:
            another_has_the_name = error.code == 409 and "Precondition failed" in error.message
            if error.code != 404 and not another_has_the_name:
                raise

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    def _want(self, pod: Json, status: Json) -> None:
        self._wanted = (pod, status)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name=f"status of {key_of(pod)}")

    async def _send(self) -> None:
        delay = 0.1
        while self._wanted:
            pod, status = self._wanted
            # the uid makes the server refuse if another pod has taken the name
            body = {"metadata": {"uid": uid(pod)}, "status": _as_patch(status)}
            where = path(pod, "status")
            try:
                shown = await request(self._client, "PATCH", where, body, content_type=STRATEGIC_MERGE_PATCH)
            except (ApiError, Unreachable) as error:
                if isinstance(error, ApiError) and error.code in FOR_GOOD:
                    if error.code not in (404, 409):
                        log.error("the status of %s is refused: %s", key_of(pod), error)
                    if self._wanted[1] is not status:
                        continue
                    self._wanted = None
                    return
                log.warning("the status of %s: %s", key_of(pod), error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5)
                continue
            self._told, self._told_at = status, _version(shown)
            if self._wanted and self._wanted[1] is status:
                self._wanted = None


def _as_patch(status: Json) -> Json:
    """The strategic merge patch that makes the server show this status and no other."""
    own = {key: [{"$patch": "replace"}, *status[key]] for key in LISTS_OF_OUR_OWN if key in status}
    if "conditions" in status and not condition_of({"status": status}, RESIZE):
        own["conditions"] = [*status["conditions"], {"$patch": "delete", "type": RESIZE}]
    return status | own


def _version(pod: Json) -> int:
    """The resourceVersion; of two of one resource the larger is the newer (KEP-5504)."""
    return int(pod["metadata"]["resourceVersion"])
