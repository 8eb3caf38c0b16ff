"""Pods on the real control plane: life, restarts, init containers, probes, deletion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.kubelet.conftest import IMAGE, Namespace

pytestmark = pytest.mark.cluster

SERVER = """
import http.server, os
address = (os.environ.get("K8SEXT_BIND_ADDRESS", "0.0.0.0"), 8080)
http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_a_pod_runs_and_its_events_tell_its_story(namespace: Namespace) -> None:
    namespace.pod("one", "echo hello; sleep 1000", wait="Running")
    pod = namespace.get("pod", "one")
    assert pod["status"]["podIP"].startswith("10.244.")
    addresses = namespace.get("node", pod["spec"]["nodeName"])["status"]["addresses"]
    assert {"type": "InternalIP", "address": pod["status"]["hostIP"]} in addresses
    assert all(condition["status"] == "True" for condition in pod["status"]["conditions"])
    namespace.until(lambda: {"Scheduled", "Pulled", "Created", "Started"} <= namespace.reasons("one"))


@pytest.mark.parametrize(
    ("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")]
)
def test_a_pod_that_ends_is_succeeded_or_failed(namespace: Namespace, policy: str, code: int, phase: str) -> None:
    namespace.pod("one", f"exit {code}", wait=phase, restartPolicy=policy)
    terminated = namespace.status("one")["state"]["terminated"]
    assert terminated["exitCode"] == code
    assert terminated["reason"] == ("Error" if code else "Completed")
    assert namespace.status("one")["restartCount"] == 0


def test_a_container_that_crashes_is_started_again_and_then_waits(namespace: Namespace) -> None:
    namespace.pod("one", "echo crash; exit 7")

    status: dict[str, Any] = {}

    def waits() -> bool:
        status.update(namespace.status("one"))
        assert status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", status
        return True

    namespace.until(waits, within=180)
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert re.match(r"back-off (\d+m)?\d+0s restarting failed container=main", status["state"]["waiting"]["message"])
    assert namespace.get("pod", "one")["status"]["phase"] == "Running"
    namespace.until(lambda: "BackOff" in namespace.reasons("one"))


def test_a_volume_that_grows_over_its_limit_ends_the_pod(namespace: Namespace) -> None:
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    volumes = [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]
    script = "head -c 3000000 /dev/zero > /scratch/file; exec sleep 1000"
    namespace.pod("greedy", script, container={"volumeMounts": mounts}, volumes=volumes)
    namespace.until(lambda: namespace.get("pod", "greedy")["status"].get("phase") == "Failed", within=240)
    status, said = (
        namespace.get("pod", "greedy")["status"],
        'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". ',
    )
    assert (status["reason"], status["message"]) == ("Evicted", said)
    assert namespace.status("greedy")["restartCount"] == 0
    namespace.until(lambda: ("Evicted", said) in namespace.events("greedy"))


def test_init_containers_and_sidecars_start_in_order(namespace: Namespace) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]

    def step(name: str, script: str, **more: object) -> dict[str, object]:
        return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts} | more

    up = {"exec": {"command": ["test", "-e", "/shared/up"]}, "periodSeconds": 1, "failureThreshold": 60}
    namespace.pod(
        "one",
        "echo main >> /shared/order; cat /shared/order",
        container={"volumeMounts": mounts},
        initContainers=[
            step("first", "echo first >> /shared/order"),
            step("proxy", "echo proxy >> /shared/order; touch /shared/up; sleep 1000", restartPolicy="Always")
            | {"startupProbe": up},
            step("second", "echo second >> /shared/order"),
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
        restartPolicy="Never",
        wait="Succeeded",
    )
    assert namespace.kubectl("logs", "one", "-c", "main").split() == ["first", "proxy", "second", "main"]


def test_an_init_container_that_fails_for_good_fails_the_pod(namespace: Namespace) -> None:
    broken = {"name": "broken", "image": IMAGE, "command": ["false"]}
    namespace.pod("one", initContainers=[broken], restartPolicy="Never", wait="Failed")
    assert namespace.status("one")["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_readiness_follows_its_probe(namespace: Namespace) -> None:
    probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    namespace.pod("one", wait="Running", container={"readinessProbe": probe})
    namespace.until(lambda: "Unhealthy" in namespace.reasons("one"))
    assert namespace.condition("one", "Ready") == "False"
    namespace.kubectl("exec", "one", "--", "sh", "-c", "touch ready")
    namespace.until(lambda: namespace.condition("one", "Ready") == "True")
    namespace.kubectl("exec", "one", "--", "sh", "-c", "rm ready")
    namespace.until(lambda: namespace.condition("one", "Ready") == "False")


def test_a_status_that_somebody_else_wrote_over_is_put_right(namespace: Namespace) -> None:
    namespace.pod("one", wait="Running")
    namespace.until(lambda: namespace.condition("one", "Ready") == "True")
    before = namespace.get("pod", "one")["status"]
    conditions = [{"type": "Ready", "status": "False", "reason": "Meddling"}]
    wrong = {"conditions": conditions, "podIP": "10.9.9.9", "podIPs": [{"$patch": "replace"}, {"ip": "10.9.9.9"}]}
    patch = json.dumps({"status": wrong | {"containerStatuses": []}})
    meddled = json.loads(namespace.kubectl("patch", "pod", "one", "--subresource=status", "-p", patch, "-o", "json"))
    assert meddled["status"]["podIP"] == "10.9.9.9"
    namespace.until(lambda: namespace.condition("one", "Ready") == "True", within=30)
    after = namespace.get("pod", "one")["status"]
    assert (after["podIPs"], after["containerStatuses"]) == (before["podIPs"], before["containerStatuses"])


def test_a_failed_liveness_probe_restarts_the_container(namespace: Namespace) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    namespace.pod("one", container={"livenessProbe": probe})
    namespace.until(lambda: namespace.status("one").get("restartCount", 0) >= 1)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in namespace.events("one")


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket"])
def test_network_probes_reach_the_address_of_the_pod(namespace: Namespace, kind: str) -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    probe = {kind: {"port": "web"}, "periodSeconds": 1}
    namespace.pod("one", container={"command": ["python", "-c", SERVER], "ports": ports, "readinessProbe": probe})
    namespace.until(lambda: namespace.condition("one", "Ready") == "True")


def test_deletion_gives_the_time_that_was_asked_for(namespace: Namespace) -> None:
    mounts, script = (
        [{"name": "v", "mountPath": "/v"}],
        "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done",
    )
    namespace.pod(
        "one", script, wait="Running", container={"volumeMounts": mounts}, volumes=[{"name": "v", "emptyDir": {}}]
    )
    namespace.until(lambda: "up" in namespace.kubectl("logs", "one"))
    namespace.kubectl("delete", "pod", "one", "--timeout=60s")
    assert ("Killing", "Stopping container main") in namespace.events("one")


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_period(namespace: Namespace) -> None:
    namespace.pod("one", "trap '' TERM; while true; do sleep 0.1; done", wait="Running")
    namespace.kubectl("delete", "pod", "one", "--timeout=60s")


def test_a_forced_deletion_leaves_no_process(namespace: Namespace) -> None:
    namespace.pod(
        "one", "trap '' TERM; while true; do sleep 0.1; done", wait="Running", terminationGracePeriodSeconds=600
    )
    namespace.kubectl("delete", "pod", "one", "--force", "--grace-period=0")
    namespace.pod("one", wait="Running")


def test_hooks_run_after_the_start_and_before_the_end(namespace: Namespace) -> None:
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > hook"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "exit 5"]}},
    }
    namespace.pod("one", wait="Running", container={"lifecycle": lifecycle}, terminationGracePeriodSeconds=5)
    namespace.until(lambda: "started" in namespace.kubectl("exec", "one", "--", "cat", "hook"))
    namespace.kubectl("delete", "pod", "one", "--timeout=60s")
    namespace.until(lambda: "FailedPreStopHook" in namespace.reasons("one"))


@pytest.mark.parametrize(
    ("script", "spec", "message"),
    [
        ("echo why > /dev/termination-log; echo no > /dev/stdout; exit 3", {}, "why\n"),
        ("echo well > /dev/termination-log", {}, "well\n"),
        ("echo why > /tmp/last; exit 3", {"terminationMessagePath": "/tmp/last"}, "why\n"),
        ("printf 'from the log'; exit 3", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "from the log"),
        ("echo from the log; exit 3", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "from the log\n"),
        ("echo from the log; exit 3", {}, ""),
    ],
)
def test_what_a_container_writes_before_it_ends_stands_in_its_status_and_nowhere_else(
    namespace: Namespace, script: str, spec: dict[str, str], message: str
) -> None:
    before = Path("/dev/termination-log").exists()
    namespace.pod("one", script, container=spec, restartPolicy="Never")
    namespace.until(lambda: "terminated" in namespace.status("one")["state"])
    assert namespace.status("one")["state"]["terminated"].get("message", "") == message
    assert Path("/dev/termination-log").exists() == before


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("OnFailure", "Pending")])
def test_a_program_that_is_missing_ends_with_128_or_waits_for_another_try(
    namespace: Namespace, policy: str, phase: str
) -> None:
    namespace.pod("one", container={"command": ["/no/such/program"]}, restartPolicy=policy)
    namespace.until(lambda: "Failed" in namespace.reasons("one"))
    if policy == "Never":
        namespace.until(lambda: namespace.get("pod", "one")["status"]["phase"] == phase)
        ended = namespace.status("one")["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    else:
        namespace.until(lambda: namespace.status("one").get("restartCount", 0) >= 1)
        namespace.until(lambda: "waiting" in namespace.status("one")["state"])


def test_an_image_nobody_has_is_told_honestly(namespace: Namespace) -> None:
    namespace.pod("one", container={"image": "registry.invalid/nothing:1"})
    namespace.until(
        lambda: namespace.status("one").get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff"
    )
    assert {"Pulling", "Failed", "BackOff"} <= namespace.reasons("one")
    assert any(
        "registry.invalid/nothing:1" in message for reason, message in namespace.events("one") if reason == "Failed"
    )


def test_a_pod_too_large_for_its_node_is_out_of_cpu(namespace: Namespace) -> None:
    resources = {"requests": {"cpu": "64"}}
    namespace.pod("one", container={"resources": resources}, nodeName="k8sext-worker", wait="Failed")
    status = namespace.get("pod", "one")["status"]
    assert status["reason"] == "OutOfcpu"
    assert "requested: 64000" in status["message"]
    assert "containerStatuses" not in status


def test_what_the_disk_refuses_is_told_in_an_event_and_tried_again_without_hurry(namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "files", "--from-literal=a=1")
    files = {"name": "files", "configMap": {"name": "files"}}
    below_a_file = {"volumeMounts": [{"name": "files", "mountPath": "/files", "subPath": "a/b"}]}
    namespace.pod("one", container=below_a_file, volumes=[files])
    namespace.until(
        lambda: (
            namespace.status("one")["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        )  # not ContainerCreating
    )
    assert any("Not a directory" in message for _, message in namespace.events("one"))
    both = [{"key": "a", "path": "x"}, {"key": "a", "path": "x/y"}]
    namespace.pod("two", volumes=[files | {"configMap": {"name": "files", "items": both}}])
    namespace.until(lambda: "FailedMount" in namespace.reasons("two"))
    uid = namespace.get("pod", "two")["metadata"]["uid"]
    folder = namespace.cluster.layout.nodes / namespace.get("pod", "two")["spec"]["nodeName"]
    assert not list(folder.glob(f"kubelet/**/{uid}/**/files/..?*"))


def test_a_pod_that_runs_longer_than_its_deadline_fails(namespace: Namespace) -> None:
    namespace.pod("one", activeDeadlineSeconds=2, wait="Failed")
    status = namespace.get("pod", "one")["status"]
    assert status["reason"] == "DeadlineExceeded"
    assert "terminated" in status["containerStatuses"][0]["state"]
    assert "DeadlineExceeded" in namespace.reasons("one")


def test_a_pod_that_was_deleted_by_force_leaves_its_room_at_once(namespace: Namespace) -> None:
    deaf = {"command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]}
    large = {"resources": {"requests": {"cpu": "3"}}}
    namespace.pod("one", container=deaf | large, nodeName="k8sext-worker2", wait="Running")
    namespace.kubectl("delete", "pod", "one", "--grace-period=0", "--force")
    namespace.pod("two", container=large, nodeName="k8sext-worker2", wait="Running")


def test_a_volume_of_a_kind_that_is_not_served_is_refused_in_an_event(namespace: Namespace) -> None:
    namespace.pod(
        "one",
        container={"volumeMounts": [{"name": "h", "mountPath": "/h"}]},
        volumes=[{"name": "h", "nfs": {"server": "s", "path": "/"}}],
    )
    namespace.until(
        lambda: any(reason == "FailedMount" and "of kind nfs" in text for reason, text in namespace.events("one"))
    )


def test_a_missing_config_map_holds_the_container_until_it_is_there(namespace: Namespace) -> None:
    source = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}
    namespace.pod("one", "echo $X; sleep 1000", container={"env": [source]})
    namespace.until(
        lambda: (
            namespace.status("one").get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"
        )
    )
    assert namespace.status("one")["state"]["waiting"]["message"] == 'configmap "late" not found'
    namespace.kubectl("create", "configmap", "late", "--from-literal=x=here")
    namespace.until(lambda: "here" in namespace.kubectl("logs", "one"))


def test_volumes_show_config_maps_secrets_and_the_pod_itself(namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "settings", "--from-literal=color=blue")
    namespace.kubectl("create", "secret", "generic", "login", "--from-literal=password=hunter2")
    names = ("settings", "login", "about", "all")
    namespace.pod(
        "one",
        "cd /v; cat settings/color login/password about/name all/c all/s; echo; sleep 1000",
        container={
            "securityContext": {"runAsUser": 0},  # whose the files are
            "volumeMounts": [{"name": name, "mountPath": f"/v/{name}"} for name in names],
        },
        volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "login", "secret": {"secretName": "login", "defaultMode": 0o400}},
            {"name": "about", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "settings", "items": [{"key": "color", "path": "c"}]}},
                        {"secret": {"name": "login", "items": [{"key": "password", "path": "s"}]}},
                    ]
                },
            },
        ],
    )
    namespace.until(lambda: namespace.kubectl("logs", "one") == "bluehunter2onebluehunter2\n")


def test_a_client_in_a_pod_finds_the_api_server(namespace: Namespace) -> None:
    script = """
import asyncio
from k8sext.kube.connect import in_cluster, service_account_dir
from k8sext.kube.request import ApiError, request
async def main():
    client = await in_cluster()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await request(client, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    print(answer["status"]["userInfo"]["username"], (service_account_dir() / "namespace").read_text())
    await client.close()
asyncio.run(main())
"""
    namespace.pod("one", container={"command": ["python", "-c", script]}, restartPolicy="Never", wait="Succeeded")
    assert namespace.kubectl("logs", "one").split() == [
        f"system:serviceaccount:{namespace.name}:default",
        namespace.name,
    ]


def test_a_deployment_rolls_scales_and_answers_through_its_service(namespace: Namespace) -> None:
    namespace.kubectl(
        "create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--port=8080", "--", "python", "-c", SERVER
    )
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    namespace.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    path = f"/api/v1/namespaces/{namespace.name}/services/web:80/proxy/"
    namespace.until(lambda: "Directory listing" in namespace.kubectl("get", "--raw", path))
    namespace.kubectl("set", "env", "deployment/web", "A=B")
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    namespace.kubectl("scale", "deployment/web", "--replicas=3")
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = json.loads(namespace.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert len({pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}) == 3


def test_a_resize_is_put_off_in_words_until_the_container_starts_again(namespace: Namespace) -> None:
    asked = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    namespace.pod("one", "while [ ! -e end ]; do sleep 0.1; done", wait="Running", container={"resources": asked})
    more = {"requests": {"cpu": "150m"}, "limits": {"cpu": "300m"}}
    patch = json.dumps({"spec": {"containers": [{"name": "main", "resources": more}]}})
    namespace.kubectl("patch", "pod", "one", "--subresource=resize", "-p", patch)
    namespace.until(lambda: namespace.condition("one", "PodResizePending") == "True")
    assert namespace.status("one")["resources"] == asked
    namespace.kubectl("exec", "one", "--", "touch", "end")
    namespace.until(lambda: namespace.status("one")["restartCount"] == 1)
    namespace.until(lambda: namespace.status("one")["resources"] == more)
    namespace.until(lambda: namespace.condition("one", "PodResizePending") == "")
