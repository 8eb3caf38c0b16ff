"""Tell the API server the status of a pod: the newest one only, one request at a time, and only what has changed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from k8sext.infra.kubelet.pod import Json, full_name, path, uid
from k8sext.kube.request import STRATEGIC_MERGE_PATCH, ApiError, Unreachable, request

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger(__name__)


class Reporter:
    """The status of one pod on its way to the API server. Nobody waits for it, unless `flush` is called."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._wanted: tuple[Json, Json] | None = None
        self._told: Json = {}
        self._task: asyncio.Task[None] | None = None

    def report(self, pod: Json, status: Json) -> None:
        """Let this be the status of the pod soon. A status that the server shows already is not sent."""
        if self._is_known(pod, status):
            return
        self._wanted = (pod, status)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name=f"status of {full_name(pod)}")

    async def flush(self) -> None:
        """Return when what was reported is told, or cannot be told because the pod is gone."""
        if self._task:
            await asyncio.shield(self._task)

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    def _is_known(self, pod: Json, status: Json) -> bool:
        if self._wanted or self._told:
            return status == (self._wanted[1] if self._wanted else self._told)
        return _covers(pod.get("status", {}), status)

    async def _send(self) -> None:
        delay = 0.1
        while self._wanted:
            pod, status = self._wanted
            # the uid makes the server refuse if another pod has taken the name
            body = {"metadata": {"uid": uid(pod)}, "status": status}
            try:
                await request(self._client, "PATCH", path(pod) + "/status", body, content_type=STRATEGIC_MERGE_PATCH)
            except (ApiError, Unreachable) as error:
                if isinstance(error, ApiError) and error.code in (404, 409):
                    self._wanted = None
                    return
                log.warning("the status of %s: %s", full_name(pod), error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5)
                continue
            self._told = status
            if self._wanted and self._wanted[1] is status:
                self._wanted = None


def _covers(shown: object, wanted: object) -> bool:
    """Does the server show all that is wanted? It may show more: conditions of others, defaults."""
    if isinstance(wanted, dict):
        shown = shown if isinstance(shown, dict) else {}
        return all(_covers(shown.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(shown, list):
            return not wanted
        if all(isinstance(item, dict) and "type" in item for item in wanted):  # conditions: a map in disguise
            by_type = {item["type"]: item for item in shown}
            return all(_covers(by_type.get(item["type"]), item) for item in wanted)
        return len(shown) == len(wanted) and all(map(_covers, shown, wanted))
    return shown == wanted or (wanted in (None, "", {}, False, 0) and shown is None)
