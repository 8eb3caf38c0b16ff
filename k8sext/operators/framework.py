"""The weather operator in a framework, kopf: `kopf run -m k8sext.operators.framework --namespace NAME`.

The decision and the deeds are the same as in `controller`; kopf brings the watching, the queueing and the retrying. `controller` shows
what that is; this file shows how little is left when somebody else has written it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kopf

from k8sext.kube.connect import ConnectError, from_kubeconfig, in_cluster
from k8sext.kube.request import ApiError, Unreachable
from k8sext.operators.pods import MANAGED_BY, owner_uid, slim
from k8sext.operators.reconcile import reconcile
from k8sext.resources import GROUP, NAMES, VERSION

Index = kopf.Index[str, Any]
REPORTS = (GROUP, VERSION, NAMES.plural)


@kopf.on.startup()
async def connect(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Open the client that `reconcile` uses, with the credentials kopf itself finds."""
    settings.posting.enabled = False
    kubeconfig = os.environ.get("KUBECONFIG")
    try:
        memo.client = await (from_kubeconfig(kubeconfig) if kubeconfig else in_cluster())
    except ConnectError as error:
        raise kopf.PermanentError(str(error)) from error
    memo.later = {}


@kopf.on.cleanup()
async def disconnect(memo: kopf.Memo, **_: Any) -> None:
    """Forget what is left to do, and close the client."""
    for look in memo.later.values():
        look.cancel()
    await memo.client.close()


@kopf.index("v1", "pods", labels=MANAGED_BY)
def pods(body: kopf.Body, **_: Any) -> dict[str, Any]:
    """The pods of each report, found by its uid."""
    return {uid: slim(_plain(body)) for uid in owner_uid(_plain(body))}


@kopf.index(*REPORTS)
def reports(uid: str, body: kopf.Body, **_: Any) -> dict[str, Any]:
    """The reports themselves, for the handler of pods."""
    return {uid: _plain(body)}


@kopf.on.event(*REPORTS)
async def follow_report(type: str | None, uid: str, memo: kopf.Memo, reports: Index, pods: Index, **_: Any) -> None:
    """A report was seen, new or changed."""
    if type != "DELETED":
        await _settle(memo, uid, reports, pods)


@kopf.on.event("v1", "pods", labels=MANAGED_BY)
async def follow_pod(body: kopf.Body, memo: kopf.Memo, reports: Index, pods: Index, **_: Any) -> None:
    """A pod of ours was seen, changed or gone: look at its report."""
    for uid in owner_uid(_plain(body)):
        await _settle(memo, uid, reports, pods)


async def _settle(memo: kopf.Memo, uid: str, reports: Index, pods: Index, failures: int = 0) -> None:
    """Reconcile once, and look again later where that is needed. To wait in here would be to wait for nothing: kopf tells us of no newer
    version of an object before the handler of the last one returned."""
    later = memo.later.pop(uid, None)
    if later and later is not asyncio.current_task():
        later.cancel()
    found = list(reports.get(uid, []))
    if not found or "deletionTimestamp" in found[-1]["metadata"]:
        return
    try:
        decision = await reconcile(memo.client, found[-1], list(pods.get(uid, [])))
        delay, failures = decision.look_again_in, 0
    except (ApiError, Unreachable):
        delay, failures = 0.02 * 2 ** min(failures, 10), failures + 1
    if delay is not None:
        memo.later[uid] = asyncio.create_task(_look_again(delay, memo, uid, reports, pods, failures))


async def _look_again(delay: float, memo: kopf.Memo, uid: str, reports: Index, pods: Index, failures: int) -> None:
    await asyncio.sleep(delay)
    await _settle(memo, uid, reports, pods, failures)


def _plain(body: kopf.Body) -> dict[str, Any]:
    return dict(body)
