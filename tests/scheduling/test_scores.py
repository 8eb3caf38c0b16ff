"""Scores: of the nodes that fit, which is chosen, and how it is explained."""

from __future__ import annotations

from collections import Counter

from k8sext.kube.objects import Json
from k8sext.scheduling import choose, explain
from k8sext.scheduling.profiles import FILTER_NAMES, Profile
from tests.scheduling.building import HOSTNAME, PREFERRED, ZONE, find, node, pod, taint, term

MEGABYTE = 1024 * 1024


def by(score: str, scoring_strategy: str = "LeastAllocated") -> Profile:
    return choose(FILTER_NAMES, {score: 1}, scoring_strategy)


def test_least_allocated_takes_the_emptiest_node_and_most_allocated_the_fullest() -> None:
    nodes, there = [node("full"), node("empty")], [pod("t", "full", requests={"cpu": "2", "memory": "4Gi"})]
    wanted = pod("p", requests={"cpu": "1", "memory": "1Gi"})
    assert find(wanted, nodes, there, by("NodeResourcesFit")).node == "empty"
    assert find(wanted, nodes, there, by("NodeResourcesFit", "MostAllocated")).node == "full"


def test_balanced_allocation_takes_the_node_where_processor_and_memory_end_up_alike() -> None:
    nodes = [node("much-memory-taken"), node("much-cpu-taken")]
    there = [
        pod("m", "much-memory-taken", requests={"memory": "4Gi"}),
        pod("c", "much-cpu-taken", requests={"cpu": "2"}),
    ]
    assert (
        find(pod("p", requests={"cpu": "2"}), nodes, there, by("NodeResourcesBalancedAllocation")).node
        == "much-memory-taken"
    )


def test_taint_toleration_avoids_nodes_that_would_rather_not() -> None:
    nodes = [node("rather-not", taints=[taint("busy", "PreferNoSchedule")]), node("welcome")]
    assert find(pod("p"), nodes, profile=by("TaintToleration")).node == "welcome"
    tolerant = explain(pod("p", tolerations=[{"operator": "Exists"}]), nodes, profile=by("TaintToleration"))
    assert set(tolerant.points) == {"rather-not", "welcome"}
    assert tolerant.points["rather-not"] == tolerant.points["welcome"]


def test_preferred_node_affinity_adds_up_the_weights() -> None:
    def wish(weight: int, key: str) -> Json:
        return {"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "Exists"}]}}

    nodes = [node("one", labels={"a": ""}), node("two", labels={"b": "", "c": ""})]
    affinity = {"nodeAffinity": {PREFERRED: [wish(50, "a"), wish(30, "b"), wish(30, "c")]}}
    assert find(pod("p", affinity=affinity), nodes, profile=by("NodeAffinity")).node == "two"


def test_preferred_pod_affinity_attracts_and_repels() -> None:
    nodes, there = [node("a1", "a"), node("b1", "b")], [pod("web", "a1", labels={"app": "web"})]
    attracted = {"podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": term("web")}]}}
    repelled = {"podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": term("web")}]}}
    assert find(pod("p", affinity=attracted), nodes, there, by("InterPodAffinity")).node == "a1"
    assert find(pod("p", affinity=repelled), nodes, there, by("InterPodAffinity")).node == "b1"


def test_a_pod_that_is_there_attracts_and_repels_as_well() -> None:
    nodes = [node("a1", "a"), node("b1", "b")]
    repelling = {"podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": term("web")}]}}
    there = [pod("hermit", "a1", affinity=repelling)]
    assert find(pod("p", labels={"app": "web"}), nodes, there, by("InterPodAffinity")).node == "b1"


def test_preferred_spread_takes_the_place_with_fewest() -> None:
    wish = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}}
    nodes, there = [node("a1", "a"), node("a2", "a"), node("b1", "b")], [pod("w", "a1", labels={"app": "web"})]
    for key, expected in ((ZONE, {"b1"}), (HOSTNAME, {"a2", "b1"})):
        wanted = pod("p", labels={"app": "web"}, topologySpreadConstraints=[wish | {"topologyKey": key}])
        points = explain(wanted, nodes, there, profile=by("PodTopologySpread")).points
        totals = {name: sum(parts.values()) for name, parts in points.items()}
        assert {name for name, total in totals.items() if total == max(totals.values())} == expected


def test_a_node_that_has_the_image_is_better() -> None:
    nodes = [node("bare"), node("has-it", images=[{"names": ["registry.test/big:1"], "sizeBytes": 900 * MEGABYTE}])]
    wanted = pod("p", containers=[{"name": "c", "image": "registry.test/big:1"}])
    assert find(wanted, nodes, profile=by("ImageLocality")).node == "has-it"


def test_without_scores_every_fitting_node_gets_its_share() -> None:
    nodes = [node(f"n{number}") for number in range(3)]
    chosen = Counter(
        explain(pod(f"p{number}"), nodes, profile=choose(FILTER_NAMES, {}), seed=1).decision.node
        for number in range(300)
    )
    assert set(chosen) == {"n0", "n1", "n2"}
    assert min(chosen.values()) > 50


def test_a_seeded_choice_depends_on_the_pod_and_not_on_the_order_of_nodes() -> None:
    nodes = [node(f"n{number}") for number in range(10)]
    profile = choose(FILTER_NAMES, {})
    forwards = [explain(pod(f"p{n}"), nodes, profile=profile, seed=7).decision.node for n in range(20)]
    backwards = [explain(pod(f"p{n}"), nodes[::-1], profile=profile, seed=7).decision.node for n in range(20)]
    assert forwards == backwards
    assert len(set(forwards)) > 3


def test_an_explanation_names_the_winner_the_points_and_what_each_loser_lacked() -> None:
    nodes = [node("tainted", taints=[taint("x")]), node("small", capacity={"cpu": "1"}), node("good")]
    found = explain(pod("p", requests={"cpu": "2"}), nodes)
    assert repr(found).splitlines() == [
        "NODE     VERDICT   BECAUSE",
        "good     chosen    135 points: NodeResourcesFit 73, NodeResourcesBalancedAllocation 62",
        "small    rejected  NodeResourcesFit: Insufficient cpu",
        "tainted  rejected  TaintToleration: node(s) had untolerated taint(s)",
    ]
