"""The controller on the embedded cluster, with real pods: what the chapter promises, step by step; and the same by
kopf.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient

from k8sext.cluster import Cluster
from k8sext.kube.request import request
from k8sext.kube.resource import LEASES, PODS
from tests.operators.conftest import MANIFESTS, Reports, by_hand, by_kopf, documents, ready, reason
from tests.support.eventually import eventually_async

pytestmark = pytest.mark.cluster


@pytest.fixture(params=[by_hand, by_kopf], ids=["by hand", "kopf"])
async def operator(
    request: pytest.FixtureRequest, cluster: Cluster, client: ApiClient, namespace: str
) -> AsyncIterator[None]:
    async with request.param(cluster, client, namespace):
        yield


async def test_a_report_is_created_changed_and_deleted(operator: None, reports: Reports) -> None:
    await reports.create("oslo", "Oslo", days=2)
    first = await reports.until("oslo", ready)
    assert first["status"]["pod"] == "oslo-1" and first["status"]["report"][-1]["date"] == "2026-06-14"

    await reports.change("oslo", city="Paris")
    second = await reports.until("oslo", lambda found: ready(found) and found["status"]["pod"] == "oslo-2")
    assert second["status"]["report"] != first["status"]["report"]
    await until_pods(reports, ["oslo-2"])

    await reports.delete("oslo")
    await until_pods(reports, [])


async def test_a_deleted_pod_is_made_again(operator: None, reports: Reports) -> None:
    await reports.create("oslo", "Oslo")
    await reports.until("oslo", ready)
    uid = (await reports.pods())[0]["metadata"]["uid"]
    await request(reports.client, "DELETE", PODS.path("oslo-1", reports.namespace))

    async def another() -> bool:
        uids = [pod["metadata"]["uid"] for pod in await reports.pods()]
        return bool(uids) and uid not in uids

    await eventually_async(another)
    await reports.until("oslo", ready)


async def test_a_city_nobody_knows_is_told_and_mended_by_a_change(operator: None, reports: Reports) -> None:
    await reports.create("typo", "Amsterdan")
    found = await reports.until("typo", lambda found: reason(found) == "UnknownCity")
    assert "did you mean Amsterdam" in found["status"]["conditions"][0]["message"] and await reports.pods() == []
    await reports.change("typo", city="Amsterdam")
    await reports.until("typo", ready)


async def test_a_pod_that_fails_is_followed_by_another(operator: None, reports: Reports, cluster: Cluster) -> None:
    forbid = ["delete", "rolebinding", "weather-collector", "-n", reports.namespace]
    cluster.kubectl(*forbid)
    await reports.create("oslo", "Oslo")
    failed = await reports.until("oslo", lambda found: reason(found) == "CollectorFailed")
    assert "forbidden" in failed["status"]["conditions"][0]["message"]
    cluster.kubectl("apply", "-n", reports.namespace, "-f", "-", input=documents("Deployment"))
    done = await reports.until("oslo", ready)
    assert done["status"]["pod"] > "oslo-1-"


async def until_pods(reports: Reports, names: list[str]) -> None:
    async def look() -> bool:
        found = sorted(pod["metadata"]["name"] for pod in await reports.pods())
        assert found == names
        return True

    await eventually_async(look)


async def test_the_deployed_operator_works_with_the_rights_it_has_and_two_copies_do_not_double_anything(
    cluster: Cluster, reports: Reports, namespace: str
) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / "operator.yaml"))
    cluster.kubectl("scale", "-n", namespace, "deployment/k8s-operator-example", "--replicas=2")
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/k8s-operator-example", "--timeout=180s")
    await reports.create("oslo", "Oslo")
    await reports.until("oslo", ready)

    lease = LEASES.path("k8s-operator-example", namespace)
    leader = (await request(reports.client, "GET", lease))["spec"]["holderIdentity"].rpartition("_")[0]
    await request(reports.client, "DELETE", PODS.path(leader, namespace), {"gracePeriodSeconds": 0})
    await reports.create("paris", "Paris")
    await reports.until("paris", ready)
    assert (await request(reports.client, "GET", lease))["spec"]["holderIdentity"].rpartition("_")[0] != leader
    assert sorted(pod["metadata"]["name"] for pod in await reports.pods()) == ["oslo-1", "paris-1"]
    log = cluster.kubectl("logs", "-n", namespace, "-l", "name=k8s-operator-example")
    assert "looking after" in log and "forbidden" not in log
    events = cluster.kubectl(
        "get", "events", "-n", namespace, "-o", "custom-columns=R:.reason,M:.message", "--no-headers"
    )
    assert events.count("Created pod paris-1.") == 1


async def test_the_probes_and_the_figures_of_the_deployed_operator_answer(
    cluster: Cluster, reports: Reports, namespace: str
) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", str(MANIFESTS / "operator.yaml"))
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/k8s-operator-example", "--timeout=180s")
    await reports.create("oslo", "Oslo")
    await reports.until("oslo", ready)
    pod = cluster.kubectl("get", "pod", "-n", namespace, "-l", "name=k8s-operator-example", "-o", "name").strip()
    figures = cluster.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod.removeprefix('pod/')}:8080/proxy/metrics"
    )
    for line in (
        'controller_runtime_reconcile_total{controller="weatherreport",result="success"}',
        'workqueue_depth{controller="weatherreport",name="weatherreport"} 0.0',
        'leader_election_master_status{name="k8s-operator-example"} 1.0',
        'controller_runtime_max_concurrent_reconciles{controller="weatherreport"} 16.0',
    ):
        assert line in figures


async def test_the_api_server_refuses_the_operator_what_it_does_not_need(cluster: Cluster, namespace: str) -> None:
    who = f"--as=system:serviceaccount:{namespace}:k8s-operator-example"
    client = ["auth", "can-i", "-n", namespace, who]
    for verb, what in (("delete", "weatherreports.k8s.packt.com"), ("get", "secrets"), ("create", "deployments.apps")):
        with pytest.raises(Exception, match="no"):
            cluster.kubectl(*client, verb, what)


def test_the_manifests_are_those_of_the_resource() -> None:
    for name in ("crd.yaml", "cr.yaml"):
        assert (MANIFESTS / name).read_text() == (MANIFESTS.parent / "resources" / name).read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--kubeconfig", "x"], "needs --namespace"),
        (["--workers", "0"], "at least 1"),
        (["--kubeconfig", "/nowhere", "--namespace", "w"], "no kubeconfig at /nowhere"),
        ([], "does not run in a pod"),
    ],
)
def test_wrong_use_is_answered_with_a_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    environment = os.environ | {"K8SEXT_SERVICEACCOUNT_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "k8sext.operators", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode in (1, 2) and sentence in done.stderr and "Traceback" not in done.stderr
