"""The plain form is the judge of the indexed one: after whatever has happened, both find the same nodes, reasons and
points."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8sext.kube.objects import Json
from k8sext.scheduling import plain
from k8sext.scheduling.framework import Framework
from k8sext.scheduling.profiles import FILTER_NAMES, KUBE, SCORE_NAMES, Profile, choose
from tests.scheduling.building import PREFERRED, snapshot
from tests.scheduling.strategies import NAMESPACES, constraints, expressions, nodes, pod_terms, pods, some

SIZE = 5
names = st.integers(0, SIZE - 1).map(lambda number: f"node-{number}")
images = st.sampled_from(["none", "registry.test/big:1", "registry.test/small"])
weights = st.integers(1, 100)


@st.composite
def nodes_with_images(draw: st.DrawFn) -> Json:
    item = draw(nodes(draw(st.integers(0, SIZE - 1))))
    sizes = {"registry.test/big:1": 900_000_000, "registry.test/small:latest": 50_000_000}
    item["status"]["images"] = [
        {"names": [name], "sizeBytes": sizes[name]} for name in draw(some(st.sampled_from([*sizes])))
    ]
    return item


@st.composite
def wishing_pods(draw: st.DrawFn, on: str = "") -> Json:
    """Pods with conditions, and often with wishes too: preferred affinity, soft spreading, images."""
    item = draw(pods(f"{'running' if on else 'new'}-{draw(st.integers(0, 7))}", on))
    spec = item["spec"]
    spec["containers"][0]["image"] = draw(images)
    wish = draw(st.integers(0, 5))
    if wish == 0:
        terms = [
            {"weight": draw(weights), "podAffinityTerm": draw(pod_terms())} for _ in range(draw(st.integers(1, 2)))
        ]
        spec["affinity"].setdefault(draw(st.sampled_from(["podAffinity", "podAntiAffinity"])), {})[PREFERRED] = terms
    if wish == 1:
        term = {"matchExpressions": draw(some(expressions(), max_size=2))}
        spec["affinity"].setdefault("nodeAffinity", {})[PREFERRED] = [{"weight": draw(weights), "preference": term}]
    if wish == 2:
        spec["topologySpreadConstraints"] = [draw(constraints()) | {"whenUnsatisfiable": "ScheduleAnyway"}]
    return item


happenings = st.one_of(
    st.tuples(st.just("node"), nodes_with_images()),
    st.tuples(st.just("no node"), names),
    st.tuples(st.just("bound"), names.flatmap(wishing_pods)),
    st.tuples(st.just("gone"), st.integers(0, 7)),
    st.tuples(st.just("placed"), st.integers(0, 1)),
    st.tuples(st.just("namespace"), st.sampled_from(["a", "b"])),
)
profiles = st.sampled_from(
    [KUBE, choose([], {}), choose(FILTER_NAMES, dict.fromkeys(SCORE_NAMES, 7), scoring_strategy="MostAllocated")]
)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(
    profiles,
    st.lists(nodes_with_images(), min_size=1, max_size=SIZE),
    st.lists(wishing_pods(), min_size=2, max_size=2, unique_by=lambda item: item["metadata"]["name"]),
    st.lists(happenings, min_size=4, max_size=16),
)
def test_plain_and_indexed_form_agree_on_nodes_reasons_and_points(
    profile: Profile, at_first: list[Json], probes: list[Json], then: list[tuple[str, Any]]
) -> None:
    """The same pods are judged after each change: what is remembered of them must not be out of date."""
    cache = snapshot(at_first, namespaces=NAMESPACES)
    framework = Framework(cache, profile, seed=0)
    for what, detail in then:
        match what:
            case "node":
                cache.set_node(detail)
            case "no node":
                cache.remove_node(detail)
            case "bound":
                cache.set_pod(cache.read(detail))
            case "gone":
                for name in NAMESPACES:
                    cache.remove_pod(f"{name}/running-{detail}")
            case "placed":
                item = cache.read(probes[detail])
                if (node := framework.schedule(item).node) and not cache.is_placed(item.key):
                    cache.assume(item, node)
                else:
                    cache.forget(item.key)
            case "namespace":
                cache.set_namespace("other", {"team": detail})
        for item in map(cache.read, probes):
            decision, points = plain.schedule(item, list(cache.nodes.values()), profile, seed=0)
            assert framework.explain(item) == (decision, points)
            quick = framework.schedule(item)
            assert quick.node == decision.node
            assert quick.node or quick.rejections == decision.rejections
