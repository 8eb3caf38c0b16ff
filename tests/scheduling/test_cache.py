"""The cache: what is known, what is assumed, and that both add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k8sext.scheduling.cache import Cache
from k8sext.scheduling.framework import Framework
from k8sext.scheduling.profiles import KUBE
from tests.scheduling.building import far, near, node, pod, snapshot, term

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["node", "no-node", "bound", "gone", "assume", "forget", "label"]),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=40,
)


def test_an_assumed_pod_takes_room_until_it_is_forgotten() -> None:
    cache = snapshot([node("n")])
    cache.assume(cache.read(pod("p", requests={"cpu": "3"})), "n")
    assert cache.nodes["n"].requested == {"cpu": 3000}
    cache.forget("default/p")
    assert cache.nodes["n"].requested == {"cpu": 0}


def test_what_the_api_server_has_told_is_not_forgotten() -> None:
    cache = snapshot([node("n")])
    cache.assume(cache.read(pod("p", requests={"cpu": "3"})), "n")
    cache.set_pod(cache.read(pod("p", "n", requests={"cpu": "3"})))
    cache.forget("default/p")
    assert cache.nodes["n"].requested == {"cpu": 3000}


def test_a_pod_that_was_bound_elsewhere_than_assumed_moves() -> None:
    cache = snapshot([node("n"), node("m")])
    cache.assume(cache.read(pod("p", requests={"cpu": "3"})), "n")
    cache.set_pod(cache.read(pod("p", "m", requests={"cpu": "3"})))
    assert (cache.nodes["n"].requested, cache.nodes["m"].requested) == ({"cpu": 0}, {"cpu": 3000})


def test_pods_may_be_heard_of_before_their_node_and_outlive_it() -> None:
    cache = snapshot([], [pod("p", "n", requests={"cpu": "3"})])
    cache.set_node(node("n"))
    assert cache.nodes["n"].requested == {"cpu": 3000}
    cache.remove_node("n")
    cache.set_node(node("n"))
    assert cache.nodes["n"].requested == {"cpu": 3000}


@given(STEPS)
def test_what_is_remembered_of_a_sort_of_pod_is_what_a_fresh_look_finds(steps: list[tuple[str, int, int]]) -> None:
    cache, probes = (
        Cache(),
        [pod("x", requests={"cpu": "2"}), pod("y", labels={"app": "web"}, affinity=near(term("web")))],
    )
    framework = Framework(cache, KUBE, seed=0)
    for step, number, place in steps:
        name, on = f"p{number}", f"n{place}"
        item = pod(
            name, on, labels={"app": "web"}, requests={"cpu": "1"}, affinity=far(term("web")) if number == 3 else {}
        )
        match step:
            case "node" | "label":
                cache.set_node(node(on, "a" if step == "node" else "b"))
            case "no-node":
                cache.remove_node(on)
            case "bound":
                cache.set_pod(cache.read(item))
            case "assume" if not cache.is_placed(f"default/{name}"):
                cache.assume(cache.read(item), on)
            case "gone":
                cache.remove_pod(f"default/{name}")
            case "forget":
                cache.forget(f"default/{name}")
        for probe in map(cache.read, probes):
            assert framework.explain(probe) == Framework(cache, KUBE, seed=0).explain(probe)
