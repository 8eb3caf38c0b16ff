"""The weather operator in a framework, kopf, as its users write it.

`kopf run -m k8sext.operators.kopf_operator --namespace NAME` starts it.

The decision and the deeds are the same as in `controller`; kopf brings the watching, the queueing and the retrying. You
say with decorators when a function is to be called, and raise `kopf.TemporaryError` to be called again.

Where this is weaker than `controller`: kopf calls a handler with one object and queues by object, so what happens to a
pod is not put in line with its report. Completion is found by looking every second (`@kopf.timer`), which costs
something for each report under way; a deleted pod (`@kopf.on.event`) is told once, so the handler repeats itself when
it fails, and what it has not done when the operator ends is found at the next start (`@kopf.on.resume`). Two looks at
one report may overlap: only fixed names and resource versions keep them from doubling anything. And kopf keeps its
notes on the objects, as annotations and, while a timer runs, a finalizer. So it needs the right to change the reports
themselves, sends three more requests for each, and a report under way cannot be deleted while no operator runs. `python
-m benchmarks operators` measures what that costs.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kopf

from k8sext.kube.connect import ConnectError, from_kubeconfig, in_cluster
from k8sext.kube.objects import Json
from k8sext.kube.request import ApiError, Unreachable
from k8sext.operators.controller import owner_uid
from k8sext.operators.plan import MANAGED_BY
from k8sext.operators.reconcile import reconcile
from k8sext.resources import GROUP, NAMES, VERSION, State

Index = kopf.Index[str, Json]
REPORTS = (GROUP, VERSION, NAMES.plural)
LOOK_EVERY, LONGEST_RETRY = 1.0, 30.0
TRIES = 12


@kopf.on.startup()
async def connect(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Open the client that `reconcile` uses, with the credentials kopf itself finds."""
    settings.posting.enabled = False  # what happens is told by the status
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage()  # a status has only fields of its type
    kubeconfig = os.environ.get("KUBECONFIG")
    try:
        memo.client = await (from_kubeconfig(kubeconfig) if kubeconfig else in_cluster())
    except ConnectError as error:
        raise kopf.PermanentError(str(error)) from error


@kopf.on.cleanup()
async def disconnect(memo: kopf.Memo, **_: Any) -> None:
    """Close the client."""
    await memo.client.close()


@kopf.index("v1", "pods", labels=MANAGED_BY)
def pods(body: kopf.Body, **_: Any) -> dict[str, Json]:
    """The pods of each report, found by its uid."""
    return {uid: dict(body) for uid in owner_uid(dict(body))}


@kopf.index(*REPORTS)
def reports(uid: str, body: kopf.Body, **_: Any) -> dict[str, Json]:
    """The reports themselves, for the handler of pods."""
    return {uid: dict(body)}


def is_under_way(status: kopf.Status, **_: Any) -> bool:
    """Whether a report still waits for something."""
    return status.get("state") not in (State.READY, State.FAILED)


@kopf.on.resume(*REPORTS)
@kopf.on.create(*REPORTS)
@kopf.on.update(*REPORTS, field="spec")
@kopf.timer(*REPORTS, interval=LOOK_EVERY, initial_delay=LOOK_EVERY, when=is_under_way)
async def bring_about(body: kopf.Body, uid: str, retry: int, memo: kopf.Memo, pods: Index, **_: Any) -> None:
    """A report was there at the start, is new, was changed, or is under way: compare and act."""
    try:
        await reconcile(memo.client, dict(body), list(pods.get(uid, [])))
    except (ApiError, Unreachable) as error:
        raise kopf.TemporaryError(str(error), delay=min(0.1 * 2**retry, LONGEST_RETRY)) from error


@kopf.on.event("v1", "pods", labels=MANAGED_BY)
async def replace(type: str | None, body: kopf.Body, memo: kopf.Memo, reports: Index, pods: Index, **_: Any) -> None:
    """A pod was deleted: look at its report. kopf does not repeat a handler of events, so this one does it itself."""
    for uid in owner_uid(dict(body)) if type == "DELETED" else ():
        for retry in range(TRIES):
            report = next(iter(reports.get(uid, [])), None)
            if report is None or "deletionTimestamp" in report["metadata"]:
                break
            try:
                await reconcile(memo.client, report, list(pods.get(uid, [])))
                break
            except (ApiError, Unreachable):
                await asyncio.sleep(min(0.1 * 2**retry, LONGEST_RETRY))
