"""The store: what an informer knows, and how it is found again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from k8sext.kube.objects import key_of
from k8sext.kube.store import Store


def item(name: str, namespace: str = "", colours: tuple[str, ...] = ()) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"metadata": metadata, "colours": list(colours)}


def test_a_listing_can_be_limited_to_a_namespace() -> None:
    store = Store()
    for namespace in ("a", "b"):
        store.put(item("web", namespace))
    assert [key_of(found) for found in store.list("b")] == ["b/web"]
    assert len(store.list()) == len(store) == 2


COLOURS = st.lists(st.sampled_from(["red", "green", "blue"]), unique=True).map(tuple)
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | COLOURS), max_size=30)


@given(STEPS)
def test_an_index_always_finds_exactly_what_carries_the_word(steps: list[tuple[str, tuple[str, ...] | None]]) -> None:
    store = Store({"colour": lambda found: found["colours"]})
    model: dict[str, tuple[str, ...]] = {}
    for name, colours in steps:
        if colours is None:
            assert (store.remove(name) is not None) == (model.pop(name, None) is not None)
        else:
            store.put(item(name, colours=colours))
            model[name] = colours
        for word in ("red", "green", "blue"):
            expected = sorted(name for name, carried in model.items() if word in carried)
            assert [key_of(found) for found in store.by_index("colour", word)] == expected
