"""Controllers that note down what they observe, analyse and do, for notebook 05; `k8sext.notebook.stage` shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from k8sext.kube.controller import Result
from k8sext.kube.informer import Change
from k8sext.kube.objects import Json, split_key
from k8sext.operators.controller import Controller, owner_uid
from k8sext.operators.plan import Plan

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

Lane = Literal["observe", "analyse", "act"]


@dataclass(frozen=True)
class Moment:
    """One thing that happened: when (in seconds of `time.monotonic`), in which part of the loop, and in words."""

    time: float
    lane: Lane
    text: str


class VisibleController(Controller):
    """The controller of this room; it only notes down what passes through it."""

    def __init__(self, client: ApiClient, namespace: str, moments: list[Moment]) -> None:
        self._moments = moments
        self.deaf_to = ""
        """The name of a pod of which no event reaches this controller, until one has told that it is gone."""
        super().__init__(client, namespace)

    def note(self, lane: Lane, text: str) -> None:
        """Remember a moment."""
        self._moments.append(Moment(time.monotonic(), lane, text))

    def _handle_report(self, change: Change, report: Json) -> None:
        self.note("observe", f"{change} report {report['metadata']['name']}")
        super()._handle_report(change, report)

    def _handle_pod(self, change: Change, pod: Json) -> None:
        if pod["metadata"]["name"] != self.deaf_to:
            self._pod_event(change, pod)
        elif change == "DELETED":
            self.deaf_to = ""

    def _pod_event(self, change: Change, pod: Json) -> None:
        self.note("observe", f"{change} pod {pod['metadata']['name']}")
        super()._handle_pod(change, pod)

    async def reconcile(self, key: str) -> Result | None:
        """Look at a report as ever, and note that it was looked at."""
        self.note("analyse", split_key(key)[1])
        return await super().reconcile(key)

    async def act(self, report: Json, pods: list[Json]) -> Plan:
        """Act as ever, and note what was done."""
        name, before = report["metadata"]["name"], report.get("status", {})
        decision = await super().act(report, pods)
        if any(before.get(field) != value for field, value in decision.status.items()):
            self.note("act", f"{name}: status {decision.status['state']}")
        if decision.create:
            self.note("act", f"{name}: create pod {decision.create['metadata']['name']}")
        for pod in decision.delete:
            self.note("act", f"{name}: delete pod {pod['metadata']['name']}")
        return decision


class EdgeController(VisibleController):
    """A controller as one should not write it: it keeps books of what it is told, and decides by them alone."""

    def __init__(self, client: ApiClient, namespace: str, moments: list[Moment]) -> None:
        self.books: dict[str, Json] = {}
        super().__init__(client, namespace, moments)

    def _pod_event(self, change: Change, pod: Json) -> None:
        if change == "DELETED":
            self.books.pop(pod["metadata"]["uid"], None)
        else:
            self.books[pod["metadata"]["uid"]] = pod
        super()._pod_event(change, pod)

    async def act(self, report: Json, pods: list[Json]) -> Plan:
        """Act on the pods that stand in the books, whatever pods there are."""
        believed = [pod for pod in self.books.values() if report["metadata"]["uid"] in owner_uid(pod)]
        return await super().act(report, believed)
