"""Host names, /etc/hosts and name servers of pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.kubelet.pod.network_files import dns_config, host_and_domain, host_name, hosts, hosts_mounts
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container, pod

NODE = "# the node's\nnameserver 192.0.2.1\nsearch a.example\nsearch b.example c.example\noptions ndots:2 rotate\n"


def named(name: str, **spec: Any) -> Json:
    found = pod(**spec)
    found["metadata"] |= {"name": name, "namespace": "shop"}
    return found


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("web", {}, ("web", "")),
        ("web", {"hostname": "own"}, ("own", "")),
        ("web", {"subdomain": "sub"}, ("web", "sub.shop.svc.cluster.local")),
        ("web", {"hostnameOverride": "a.b.c", "subdomain": "sub", "hostname": "own"}, ("a.b.c", "")),
        ("a" * 62 + ".bc", {}, ("a" * 62, "")),
        ("a" * 61 + "-.c", {}, ("a" * 61, "")),
        ("a" * 70, {}, ("a" * 63, "")),
    ],
)
def test_a_pod_has_the_host_name_that_the_real_kubelet_gives(name: str, spec: Json, expected: tuple[str, str]) -> None:
    assert host_and_domain(named(name, **spec)) == expected


def test_the_hosts_file_names_the_pod_and_its_aliases() -> None:
    aliases = [{"ip": "192.0.2.7", "hostnames": ["one", "two"]}, {"ip": "192.0.2.8"}]
    lines = hosts(named("web", subdomain="sub", hostAliases=aliases), "10.244.1.2", "unused").splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert lines[-5:] == [
        "10.244.1.2\tweb.sub.shop.svc.cluster.local\tweb",
        "",
        "# Entries added by HostAliases.",
        "192.0.2.7\tone\ttwo",
        "192.0.2.8",
    ]


def test_on_the_nodes_network_the_nodes_own_hosts_stand_before_the_aliases() -> None:
    found = hosts(
        named("web", hostNetwork=True, hostAliases=[{"ip": "192.0.2.7", "hostnames": ["one"]}]), "x", "1 me\n"
    )
    assert found.splitlines() == [
        "# Kubernetes-managed hosts file (host network).",
        "1 me",
        "",
        "# Entries added by HostAliases.",
        "192.0.2.7\tone",
    ]


def test_the_whole_name_is_given_where_it_is_asked_for() -> None:
    assert host_name(named("web", subdomain="sub")) == "web"
    assert host_name(named("web", setHostnameAsFQDN=True)) == "web"
    assert host_name(named("web", subdomain="sub", setHostnameAsFQDN=True)) == "web.sub.shop.svc.cluster.local"


def test_a_volume_at_its_place_wins(tmp_path: Path) -> None:
    own = container("main", volumeMounts=[{"name": "v", "mountPath": "/etc/hosts"}])
    assert hosts_mounts(pod(own), own, "10.244.1.2", tmp_path) == []
    assert [m.container_path for m in hosts_mounts(pod(), container("main"), "10.244.1.2", tmp_path)] == ["/etc/hosts"]


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        ({}, [], [], []),
        ({"dnsPolicy": "Default"}, [], [], []),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"], "options": [{"name": "debug"}]}},
            ["192.0.2.9"],
            [],
            ["debug"],
        ),
        (
            {
                "dnsPolicy": "ClusterFirst",
                "dnsConfig": {
                    "nameservers": ["192.0.2.9", "192.0.2.1"],
                    "searches": ["c.example", "d.example"],
                    "options": [{"name": "ndots", "value": "5"}, {"name": "rotate"}, {"name": "x", "value": ""}],
                },
            },
            ["192.0.2.1", "192.0.2.9"],
            ["b.example", "c.example", "d.example"],
            ["ndots:5", "rotate", "x:"],
        ),
    ],
)
def test_name_servers_come_from_the_node_and_the_pod(
    spec: Json, servers: list[str], searches: list[str], options: list[str]
) -> None:
    found = dns_config(named("web", **spec), NODE)
    assert (list(found.servers), list(found.searches), list(found.options)) == (servers, searches, options)
