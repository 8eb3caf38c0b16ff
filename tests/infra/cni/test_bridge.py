"""Attaching and detaching pods, in network namespaces of the test's own."""

from __future__ import annotations

import errno
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest


def reaches(machine, address, pod=""):
    """Whether somebody is at an address: a port that is closed answers at once, an empty address never does."""
    script = f"import socket; s = socket.socket(); s.settimeout(5); print(s.connect_ex(('{address}', 9)))"
    return machine.sh(f'{sys.executable} -S -c "{script}"', pod=pod).strip() == str(errno.ECONNREFUSED)


def test_two_pods_reach_each_other_and_the_bridge(machine):
    machine.call("ADD", "one")
    result = machine.call("ADD", "two")
    assert result["ips"] == [{"address": "10.9.0.3/29", "gateway": "10.9.0.1", "interface": 2}]
    assert [reaches(machine, ip, pod="two") for ip in ("10.9.0.2", "10.9.0.1", "10.9.0.6")] == [True, True, False]
    assert reaches(machine, "10.9.0.3")


def test_the_result_names_every_interface_with_its_place(machine):
    result = machine.call("ADD", "one")
    bridge, cable, inside = result["interfaces"]
    assert (bridge["name"], inside["name"], inside["sandbox"]) == ("cni0", "eth0", machine.pod("one"))
    assert cable["name"] in machine.links()
    assert json.loads(machine.sh("ip -json link show eth0", pod="one"))[0]["address"] == inside["mac"]
    assert result["cniVersion"] == "1.1.0"
    assert result["routes"] == [{"dst": "0.0.0.0/0"}]


def test_what_was_added_is_gone_after_del_and_del_may_be_repeated(machine):
    machine.call("ADD", "one")
    for _ in range(2):
        assert machine.call("DEL", "one") is None
    assert (machine.links(), machine.addresses()) == ([], {})


def test_del_works_when_the_namespace_is_gone(machine):
    machine.call("ADD", "one")
    for path in ("/proc/1/gone", ""):
        assert machine.call("DEL", "one", CNI_NETNS=path) is None
    assert machine.links() == []


def test_adding_twice_is_refused_and_changes_nothing(machine):
    before = machine.call("ADD", "one")
    assert machine.call("ADD", "one")["code"] == 101
    assert machine.call("CHECK", "one", machine.network(prevResult=before)) is None


def test_an_interface_of_somebody_else_is_left_alone(machine):
    machine.sh("ip link add name eth0 type bridge", pod="one")
    assert machine.call("ADD", "one")["code"] == 101
    assert machine.call("DEL", "one") is None
    assert "eth0" in machine.sh("ip link show eth0", pod="one")
    assert (machine.links(), machine.addresses()) == ([], {})


def test_addresses_run_out_with_a_code_that_says_try_again(machine):
    found = [machine.call("ADD", f"pod{n}")["ips"][0]["address"] for n in range(5)]
    assert found == [f"10.9.0.{n}/29" for n in range(2, 7)]
    assert machine.call("STATUS")["code"] == 50
    assert machine.call("ADD", "late")["code"] == 11
    machine.call("DEL", "pod1")
    assert machine.call("ADD", "late")["ips"][0]["address"] == "10.9.0.3/29"


def test_an_address_rests_before_it_is_given_out_again(machine):
    machine.call("ADD", "one")
    machine.call("DEL", "one")
    assert machine.call("ADD", "two")["ips"][0]["address"] == "10.9.0.3/29"


def test_a_previous_result_is_passed_on_with_ours_behind_it(machine):
    before = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1"}],
        "ips": [{"address": "192.168.7.2/24", "interface": 0}],
        "dns": {"nameservers": ["192.168.7.1"]},
    }
    result = machine.call("ADD", "one", machine.network(prevResult=before, dns={"domain": "cluster.local"}))
    assert [interface["name"] for interface in result["interfaces"]][::3] == ["net1", "eth0"]
    assert [(entry["address"], entry["interface"]) for entry in result["ips"]] == [
        ("192.168.7.2/24", 0),
        ("10.9.0.2/29", 3),
    ]
    assert result["dns"] == {"nameservers": ["192.168.7.1"], "domain": "cluster.local"}


@pytest.mark.parametrize(
    ("harm", "pod", "sentence"),
    [
        ("ip addr flush dev eth0", "one", "does not have the address 10.9.0.2"),
        ("ip link set eth0 down", "one", "eth0 is down"),
        ("ip link delete eth0", "one", "no interface eth0"),
        ("ip route delete default", "one", "the route to 0.0.0.0/0 is gone"),
        ("ip link delete cni0", "", "the bridge cni0 is gone"),
        ("for l in $(ip -br link | grep -o k8x[0-9a-f]*); do ip link set $l nomaster; done", "", "does not hang in"),
    ],
)
def test_check_says_what_was_broken(machine, harm, pod, sentence):
    network = machine.network(prevResult=machine.call("ADD", "one"))
    assert machine.call("CHECK", "one", network) is None
    machine.sh(harm, pod=pod)
    error = machine.call("CHECK", "one", network)
    assert error["code"] == 100
    assert sentence in error["details"]


def test_check_without_a_previous_result_is_a_mistake_of_the_caller(machine):
    assert machine.call("CHECK", "one")["code"] == 7


def test_gc_removes_what_no_valid_attachment_owns(machine):
    for pod in ("one", "two", "three"):
        machine.call("ADD", pod)
    valid = [{"containerID": "two", "ifname": "eth0"}]
    for _ in range(2):
        assert machine.call("GC", network=machine.network(**{"cni.dev/valid-attachments": valid})) is None
    assert list(machine.addresses().values()) == [["two", "eth0"]]
    assert len(machine.links()) == 1


def test_gc_removes_cables_even_when_the_addresses_were_lost(machine):
    machine.call("ADD", "one")
    (machine.folder / "pods" / "addresses.json").unlink()
    assert machine.call("GC", network=machine.network(**{"cni.dev/valid-attachments": []})) is None
    assert machine.links() == []


def test_gc_without_a_list_removes_nothing(machine):
    machine.call("ADD", "one")
    assert machine.call("GC") is None
    assert len(machine.links()) == 1


def test_calls_at_the_same_time_do_not_share_an_address(machine):
    network = machine.network(ipam={"subnet": "10.9.0.0/24"})
    pods = [f"pod{n}" for n in range(8)]
    for pod in pods:
        machine.pod(pod)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda pod: machine.call("ADD", pod, network), pods))
    assert len({result["ips"][0]["address"] for result in results}) == 8


def test_version_1_0_networks_work_and_know_no_status(machine):
    network = machine.network(cniVersion="1.0.0")
    assert machine.call("ADD", "one", network)["cniVersion"] == "1.0.0"
    assert machine.call("STATUS", network=network)["code"] == 1


def test_status_says_yes_where_pods_can_be_attached(machine):
    assert machine.call("STATUS") is None
