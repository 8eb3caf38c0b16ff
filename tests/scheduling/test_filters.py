"""Filters one by one: what lets a pod onto a node, and the words against it."""

from __future__ import annotations

import pytest

from k8sext.kube.objects import Json
from k8sext.scheduling.profiles import KUBE, choose
from tests.scheduling.building import (
    HOSTNAME,
    REQUIRED,
    ZONE,
    far,
    feasible,
    find,
    near,
    node,
    pod,
    snapshot,
    taint,
    term,
)

THREE = [node("a1", "a"), node("a2", "a"), node("b1", "b")]


def reason(item: Json, *nodes: Json, pods: list[Json] | None = None) -> str:
    return find(item, list(nodes), pods).message


def test_without_nodes_the_message_says_so() -> None:
    assert reason(pod("p")) == "no nodes available to schedule pods"


def test_what_is_taken_is_counted_and_named_when_it_is_too_much() -> None:
    taken = [pod("t", "n", requests={"cpu": "3500m", "memory": "1Gi"})]
    assert (
        reason(pod("p", requests={"cpu": "501m"}), node("n"), pods=taken)
        == "0/1 nodes are available: 1 Insufficient cpu."
    )
    assert find(pod("p", requests={"cpu": "500m"}), [node("n")], taken).node == "n"


def test_several_reasons_of_one_node_are_all_counted() -> None:
    wanted = pod("p", requests={"cpu": "8", "memory": "9Gi"})
    assert reason(wanted, node("n")) == "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."


def test_the_number_of_pods_is_limited_too() -> None:
    assert (
        reason(pod("p"), node("n", capacity={"pods": "1"}), pods=[pod("t", "n")])
        == "0/1 nodes are available: 1 Too many pods."
    )


def test_a_resource_that_a_node_does_not_know_is_insufficient() -> None:
    gpu = {"example.com/gpu": "1"}
    nodes = [node("plain"), node("gpu", capacity=gpu)]
    assert find(pod("p", requests=gpu), nodes).node == "gpu"
    assert reason(pod("p", requests=gpu), nodes[0]) == "0/1 nodes are available: 1 Insufficient example.com/gpu."


def test_a_node_selector_wants_all_its_labels() -> None:
    nodes = [node("ssd", labels={"disk": "ssd"}), node("hdd", labels={"disk": "hdd"})]
    assert find(pod("p", nodeSelector={"disk": "ssd"}), nodes).node == "ssd"
    message = reason(pod("p", nodeSelector={"disk": "tape"}), *nodes)
    assert message == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ({"key": "n", "operator": "In", "values": ["1", "5"]}, {"one", "five"}),
        ({"key": "n", "operator": "NotIn", "values": ["1"]}, {"five", "none", "word"}),
        ({"key": "n", "operator": "Exists"}, {"one", "five", "word"}),
        ({"key": "n", "operator": "DoesNotExist"}, {"none"}),
        ({"key": "n", "operator": "Gt", "values": ["1"]}, {"five"}),
        ({"key": "n", "operator": "Lt", "values": ["5"]}, {"one"}),
    ],
)
def test_node_affinity_knows_six_operators(expression: Json, names: set[str]) -> None:
    numbers = {"one": {"n": "1"}, "five": {"n": "5"}, "none": {}, "word": {"n": "many"}}
    cache = snapshot([node(name, labels=labels) for name, labels in numbers.items()])
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}
    assert feasible(cache, pod("p", affinity=affinity)) == names


def test_terms_of_node_affinity_are_alternatives_and_an_empty_one_selects_nothing() -> None:
    def wants(*terms: Json) -> set[str]:
        return feasible(
            snapshot(THREE), pod("p", affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}})
        )

    zone_b = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["b"]}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a2"]}]}
    assert wants(zone_b, named) == {"b1", "a2"}
    assert wants({}) == set()


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "gpu", "operator": "Exists"},
        {"key": "gpu", "value": "yes"},
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ],
)
def test_a_toleration_opens_a_tainted_node(toleration: Json) -> None:
    gpu = node("gpu", taints=[taint("gpu", "NoSchedule", "yes")])
    assert reason(pod("p"), gpu) == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    assert find(pod("p", tolerations=[toleration]), [gpu]).node == "gpu"


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "gpu", "value": "no"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
        {"key": "cpu", "operator": "Exists"},
    ],
)
def test_a_toleration_of_something_else_does_not(toleration: Json) -> None:
    assert (
        find(pod("p", tolerations=[toleration]), [node("gpu", taints=[taint("gpu", "NoSchedule", "yes")])]).node is None
    )


def test_a_preferred_taint_keeps_nobody_away() -> None:
    assert find(pod("p"), [node("n", taints=[taint("busy", "PreferNoSchedule")])]).node == "n"


def test_a_cordoned_node_takes_no_pods() -> None:
    assert reason(pod("p"), node("n", unschedulable=True)) == "0/1 nodes are available: 1 node(s) were unschedulable."


def test_two_pods_do_not_share_a_port_of_the_host() -> None:
    def with_port(name: str, on: str = "", **port: object) -> Json:
        return pod(name, on, containers=[{"name": "c", "ports": [{"hostPort": 80, "protocol": "TCP", **port}]}])

    taken = [with_port("t", "n", hostIP="10.0.0.1")]
    assert reason(with_port("p"), node("n"), pods=taken).endswith(
        "1 node(s) didn't have free ports for the requested pod ports."
    )
    assert find(with_port("p", hostIP="10.0.0.2"), [node("n")], taken).node == "n"
    assert find(with_port("p", protocol="UDP"), [node("n")], taken).node == "n"


def test_affinity_draws_a_pod_into_the_zone_of_another() -> None:
    there = [pod("web", "a1", labels={"app": "web"})]
    assert feasible(snapshot(THREE, there), pod("p", affinity=near(term("web")))) == {"a1", "a2"}
    assert feasible(snapshot(THREE, there), pod("p", affinity=near(term("web", HOSTNAME)))) == {"a1"}


def test_the_first_of_a_group_may_go_anywhere_that_has_the_label() -> None:
    nodes = [*THREE, node("nowhere")]
    first = pod("p", labels={"app": "web"}, affinity=near(term("web")))
    assert feasible(snapshot(nodes), first) == {"a1", "a2", "b1"}
    message = reason(pod("p", affinity=near(term("web"))), *nodes)
    assert message == "0/4 nodes are available: 4 node(s) didn't match pod affinity rules."


def test_anti_affinity_keeps_a_pod_out_of_the_zone_of_another() -> None:
    there = [pod("web", "a1", labels={"app": "web"})]
    assert feasible(snapshot(THREE, there), pod("p", affinity=far(term("web")))) == {"b1"}


def test_anti_affinity_works_both_ways() -> None:
    hermit = [pod("hermit", "a1", affinity=far(term("web")))]
    assert feasible(snapshot(THREE, hermit), pod("p", labels={"app": "web"})) == {"b1"}
    assert feasible(snapshot(THREE, hermit), pod("p", labels={"app": "db"})) == {"a1", "a2", "b1"}


def test_affinity_means_pods_of_the_same_namespace_unless_others_are_named_or_selected() -> None:
    there = [pod("web", "a1", labels={"app": "web"}, namespace="other")]
    cache = snapshot(THREE, there, {"default": {}, "other": {"team": "b"}})
    assert feasible(cache, pod("p", affinity=near(term("web")))) == set()
    assert feasible(cache, pod("p", affinity=near(term("web", namespaces=["other"])))) == {"a1", "a2"}
    assert feasible(cache, pod("p", affinity=near(term("web", namespaceSelector={"matchLabels": {"team": "b"}})))) == {
        "a1",
        "a2",
    }


def test_a_namespace_that_changes_its_labels_changes_what_affinity_finds() -> None:
    cache = snapshot(THREE, [pod("web", "a1", labels={"app": "web"}, namespace="other")], {"other": {}})
    wanted = pod("p", affinity=near(term("web", namespaceSelector={"matchLabels": {"team": "b"}})))
    assert feasible(cache, wanted) == set()
    cache.set_namespace("other", {"team": "b"})
    assert feasible(cache, wanted) == {"a1", "a2"}


def spread(skew: int = 1, key: str = ZONE, **more: object) -> list[Json]:
    selector = {"matchLabels": {"app": "web"}}
    return [
        {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector, **more}
    ]


def test_spreading_fills_the_emptiest_zone_first() -> None:
    there = [pod("w1", "a1", labels={"app": "web"})]
    next_one = pod("p", labels={"app": "web"}, topologySpreadConstraints=spread())
    assert feasible(snapshot(THREE, there), next_one) == {"b1"}
    assert feasible(snapshot(THREE, there), pod("p", labels={"app": "web"}, topologySpreadConstraints=spread(2))) == {
        "a1",
        "a2",
        "b1",
    }


def test_spreading_leaves_out_nodes_without_the_label() -> None:
    message = reason(pod("p", labels={"app": "web"}, topologySpreadConstraints=spread()), node("n"))
    assert message.endswith("1 node(s) didn't match pod topology spread constraints (missing required label).")


def test_zones_that_a_pod_cannot_use_do_not_count_unless_it_says_so() -> None:
    there = [pod("w1", "a1", labels={"app": "web"})]
    only_a = {ZONE: "a"}
    assert feasible(
        snapshot(THREE, there), pod("p", labels={"app": "web"}, nodeSelector=only_a, topologySpreadConstraints=spread())
    ) == {"a1", "a2"}
    ignoring = spread(nodeAffinityPolicy="Ignore")
    assert (
        feasible(
            snapshot(THREE, there),
            pod("p", labels={"app": "web"}, nodeSelector=only_a, topologySpreadConstraints=ignoring),
        )
        == set()
    )


def test_with_fewer_zones_than_min_domains_none_may_have_more_than_max_skew() -> None:
    there = [pod("w1", "a1", labels={"app": "web"}), pod("w2", "b1", labels={"app": "web"})]
    assert (
        feasible(
            snapshot(THREE, there), pod("p", labels={"app": "web"}, topologySpreadConstraints=spread(minDomains=3))
        )
        == set()
    )


def test_a_pod_that_is_going_no_longer_counts_for_spreading_but_still_takes_room() -> None:
    going = pod("w1", "a1", labels={"app": "web"}, requests={"cpu": "4"})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    wanted = pod("p", labels={"app": "web"}, requests={"cpu": "1"}, topologySpreadConstraints=spread())
    assert feasible(snapshot(THREE, [going]), wanted) == {"a2", "b1"}


def test_only_the_chosen_filters_are_asked() -> None:
    full = node("n", taints=[taint("x")], capacity={"cpu": "1"})
    assert find(pod("p", requests={"cpu": "2"}), [full], profile=choose([], {})).node == "n"
    assert find(
        pod("p", requests={"cpu": "2"}), [full], profile=choose(["NodeResourcesFit"], {})
    ).unschedulable_plugins == {"NodeResourcesFit"}
    assert find(pod("p", requests={"cpu": "2"}), [full], profile=KUBE).unschedulable_plugins == {"TaintToleration"}


def test_an_unknown_filter_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match="there is no filter 'magic': choose of NodeName, NodeUnschedulable, TaintToleration"
    ):
        choose(["magic"], {})
