"""Every field of a pod's spec is honoured, refused in words, somebody else's, or named in an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8sext.cluster import Cluster
from k8sext.infra.kubelet.pod.not_honoured import KINDS, NOT_HONOURED, of_container, of_pod
from k8sext.infra.kubelet.volumes.manager import ELSEWHERE, PLUGINS
from k8sext.kube.objects import Json
from tests.infra.kubelet.conftest import Namespace

KNOWN = set(Path(__file__).with_name("known_fields.txt").read_text().split())
OF_OTHERS = {"affinity", "nodeSelector", "overhead", "schedulingGates", "schedulingGroup", "tolerations"}
OF_OTHERS |= {"topologySpreadConstraints", "volumes.ephemeral"}  # the claim's template is the provisioner's
REFUSED = {"volumes.projected.sources.clusterTrustBundle", "volumes.projected.sources.podCertificate"}


def fields(schemas: Json, name: str, path: str = "") -> Iterator[str]:
    """All paths below a type, but for the insides of what is refused whole, or is somebody else's."""
    for key, schema in schemas[name].get("properties", {}).items():
        where = f"{path}.{'containers' if not path and key in KINDS else key}".removeprefix(".")
        yield where
        refused = path == "volumes" and key not in (*PLUGINS, *ELSEWHERE)
        if (below := _reference(schema)) and not refused and where not in OF_OTHERS | REFUSED:
            yield from fields(schemas, below, where)


def _reference(schema: Json) -> str:
    for one in (schema, schema.get("items") or {}):
        for choice in (one, *one.get("allOf", ())):
            if "$ref" in choice:
                return choice["$ref"].rpartition("/")[2]
    return ""


@pytest.mark.cluster
def test_every_field_that_the_server_knows_is_in_one_of_the_two_lists(cluster: Cluster) -> None:
    document = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3/api/v1"))
    found = set(fields(document["components"]["schemas"], "io.k8s.api.core.v1.PodSpec"))
    named = set(NOT_HONOURED)
    inside = {path for path in found if any(path.startswith(f"{one}.") for one in NOT_HONOURED)}
    assert found - inside - KNOWN - named == set(), "put them into one of the lists"
    assert KNOWN - found == set() and KNOWN & named == set()
    assert named - found == set()


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"name": "a", "image": "b", "terminationMessagePath": "/x", "ports": [{"containerPort": 1}]}, []),
        ({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}, []),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Disabled"}]}, []),
        (
            {"volumeMounts": [{"name": "v"}, {"recursiveReadOnly": "Enabled"}], "volumeDevices": [{"name": "d"}]},
            ["volumeMounts[1].recursiveReadOnly", "volumeDevices"],
        ),
        ({"livenessProbe": {"grpc": {"port": 1, "mode": "TLS"}}}, ["livenessProbe.grpc.mode"]),
        ({"resources": {"limits": {"cpu": "1"}, "claims": [{"name": "a"}]}}, ["resources.claims"]),
        (
            {"restartPolicyRules": [{"action": "Restart"}, {"action": "RestartAllContainers"}]},
            ["restartPolicyRules[1].action"],
        ),
    ],
)
def test_what_does_nothing_is_found_where_it_stands(container: dict[str, Any], expected: list[str]) -> None:
    assert of_container(container) == expected
    spec = {"containers": [container], "volumes": [{"emptyDir": {"medium": "HugePages"}}, {"emptyDir": {"medium": ""}}]}
    assert of_pod({"spec": spec}) == ["volumes[0].emptyDir.medium"]


@pytest.mark.cluster
def test_one_event_names_all_fields_of_a_pod_that_do_nothing(namespace: Namespace) -> None:
    volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
    namespace.pod("odd", wait="Running", volumes=volumes, securityContext={"fsGroupChangePolicy": "OnRootMismatch"})
    named = "volumes[0].emptyDir.medium, securityContext.fsGroupChangePolicy"
    expected = ("FieldsNotHonoured", f"This kubelet does nothing with {named}")
    told = lambda: [event for event in namespace.events("odd") if event[0] == expected[0]]  # noqa: E731
    namespace.until(told)
    assert told() == [expected]
    namespace.pod("plain", wait="Running")
    assert "FieldsNotHonoured" not in namespace.reasons("plain")


@pytest.mark.cluster
def test_a_pods_names_its_group_and_its_restart_rules_come_true(namespace: Namespace) -> None:
    script = "hostname; cat /etc/hosts; cat /etc/resolv.conf; stat -c '%g %a' /v; stat -L -c '%g %a' /s/key; exit 42"
    namespace.apply({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}})
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}]
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    namespace.pod(
        "names",
        script,
        container={
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "s", "mountPath": "/s"}],
            "restartPolicy": "Never",
            "restartPolicyRules": rules,
        },
        restartPolicy="Never",
        hostname="own",
        subdomain="sub",
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["one", "two"]}],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.9"], "options": [{"name": "ndots", "value": "5"}]},
        securityContext={"fsGroup": 1001},
        volumes=volumes,
    )
    namespace.until(lambda: namespace.status("names").get("restartCount", 0) >= 1)
    log = namespace.kubectl("logs", "names", "--previous").splitlines()
    ip = namespace.get("pod", "names")["status"]["podIP"]
    assert log[0] == "own"
    assert f"{ip}\town.sub.{namespace.name}.svc.cluster.local\town" in log
    assert "192.0.2.7\tone\ttwo" in log
    assert {"nameserver 192.0.2.9", "options ndots:5"} <= set(log)
    assert log[-2:] == ["1001 2777", "1001 440"]


@pytest.mark.cluster
def test_a_pod_of_another_system_and_a_port_that_is_taken_are_refused_in_the_kubelets_words(
    namespace: Namespace,
) -> None:
    ports = {"ports": [{"containerPort": 1, "hostPort": 18080}]}
    namespace.pod("first", wait="Running", container=ports)
    node = namespace.get("pod", "first")["spec"]["nodeName"]
    namespace.pod("second", container=ports, nodeName=node)
    namespace.pod("other", nodeName=node, os={"name": "windows"})
    namespace.pod("odd-name", container={"image": "Not/An Image"})
    reason = lambda name: namespace.get("pod", name)["status"].get("reason")  # noqa: E731
    namespace.until(lambda: (reason("second"), reason("other")) == ("NodePorts", "PodOSNotSupported"))
    waiting = lambda: namespace.status("odd-name")["state"]["waiting"]["reason"]  # noqa: E731
    namespace.until(lambda: waiting() == "InvalidImageName")
