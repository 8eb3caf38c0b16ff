"""The address plan: whose an address is, and where it leads."""

from __future__ import annotations

import pytest

from k8sext.infra.addresses import (
    API_SERVICE,
    halves,
    has_own_network,
    is_pod_address,
    loopback_address,
    node_address,
    pod_range,
)


def test_each_node_has_its_range_and_its_first_address() -> None:
    assert (str(pod_range(0)), node_address(0)) == ("10.244.0.0/24", "10.244.0.1")
    assert (str(pod_range(250)), node_address(250)) == ("10.244.250.0/24", "10.244.250.1")
    assert API_SERVICE == "10.96.0.1"


def test_the_halves_of_a_range_do_not_overlap_and_agree_with_the_question_whose_an_address_is() -> None:
    shared, own = halves(pod_range(3))
    assert (str(shared), str(own)) == ("10.244.3.0/25", "10.244.3.128/25")
    assert not any(has_own_network(str(address)) for address in shared)
    assert all(has_own_network(str(address)) for address in own)


@pytest.mark.parametrize("other", ["192.168.1.200", "10.96.0.200", "10.244.1", "10.244.1.300", "web", "", "::1"])
def test_what_is_no_pods_address_has_no_network_of_the_clusters(other: str) -> None:
    assert not is_pod_address(other) and not has_own_network(other)


def test_a_pod_on_this_machines_network_listens_at_the_clusters_loopback_block() -> None:
    assert loopback_address("10.244.3.7", "127.201") == "127.201.3.7"
