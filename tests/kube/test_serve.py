"""The servers beside a controller: probes, and figures under the names of controller-runtime."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from k8sext.kube.metrics import ControllerMetrics
from k8sext.kube.queue import WorkQueue
from k8sext.kube.serve import bind_address, host_name, serving


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_program_is_alive_before_it_is_ready() -> None:
    well = False
    async with serving(0, ready=lambda: well, metrics=lambda: b"") as port:
        assert (await get(port, "/healthz"))[0] == 200
        assert (await get(port, "/readyz"))[0] == 503
        well = True
        assert await get(port, "/readyz") == (200, "ok")


async def test_a_taken_port_is_an_error() -> None:
    async with serving(0, ready=lambda: True, metrics=lambda: b"") as port:
        with pytest.raises(OSError):
            async with serving(port, ready=lambda: True, metrics=lambda: b""):
                pass


async def test_queue_and_reconciles_are_counted() -> None:
    metrics = ControllerMetrics("weather")
    queue: WorkQueue[str] = WorkQueue(observer=metrics)
    for key in "aab":
        queue.add(key)
    key = await queue.get()
    with metrics.reconcile() as result:
        result("requeue_after")
    with pytest.raises(ValueError), metrics.reconcile():
        raise ValueError
    queue.add_rate_limited(key)
    queue.done(key)
    metrics.leads("election", True)
    found = {
        (sample.name, sample.labels.get("result", "")): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }
    assert found["workqueue_adds_total", ""] == 2
    assert found["workqueue_depth", ""] == 1
    assert found["workqueue_retries_total", ""] == 1
    assert (
        found["workqueue_queue_duration_seconds_count", ""] == found["workqueue_work_duration_seconds_count", ""] == 1
    )
    assert found["controller_runtime_reconcile_total", "requeue_after"] == 1
    assert (
        found["controller_runtime_reconcile_total", "error"]
        == found["controller_runtime_reconcile_errors_total", ""]
        == 1
    )
    assert found["controller_runtime_reconcile_time_seconds_count", ""] == 2
    assert found["controller_runtime_active_workers", ""] == 0
    assert found["leader_election_master_status", ""] == 1


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1"),
        ({"POD_IP": "10.0.0.9"}, "10.0.0.9"),
        ({"POD_IP": "10.0.0.9", "K8SEXT_BIND_ADDRESS": "127.1.2.3"}, "127.1.2.3"),
    ],
)
def test_servers_listen_on_the_pods_address_or_on_loopback(
    environment: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POD_IP", "K8SEXT_BIND_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert bind_address() == address


def test_a_pod_knows_its_name_where_it_has_no_host_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "the-machine")
    monkeypatch.setenv("HOSTNAME", "web-0")
    assert host_name() == "web-0"
    monkeypatch.delenv("HOSTNAME")
    assert host_name() == "the-machine"
