"""What the handlers for kopf must do themselves: never keep kopf waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest

from k8sext.kube.request import ApiError
from k8sext.operators import framework
from k8sext.operators.desired import Plan

Json = dict[str, Any]


def report(version: str) -> Json:
    return {"metadata": {"name": "oslo", "uid": "u", "resourceVersion": version}}


@pytest.mark.parametrize("refusal", [ApiError(409, "Conflict", "the object has been modified"), None])
async def test_a_handler_returns_before_the_newer_version_that_only_its_return_brings(
    monkeypatch: pytest.MonkeyPatch, refusal: ApiError | None
) -> None:
    seen: list[str] = []
    again = asyncio.Event()

    async def reconcile(client: object, report: Json, pods: list[Json]) -> Plan:
        seen.append(report["metadata"]["resourceVersion"])
        if len(seen) > 1:
            again.set()
            return Plan({})
        if refusal:
            raise refusal
        return Plan({}, look_again_in=0.01)

    monkeypatch.setattr(framework, "reconcile", reconcile)
    memo = kopf.Memo(client=None, later={})
    index: Any = {"u": [report("1")]}
    handler: Any = framework.follow_report
    await handler(type="MODIFIED", uid="u", memo=memo, reports=index, pods={})
    assert seen == ["1"]
    index["u"] = [report("2")]
    await asyncio.wait_for(again.wait(), 30)
    assert seen == ["1", "2"]
