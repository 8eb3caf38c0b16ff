"""What a client sends for a name that is none: nothing at all."""

from __future__ import annotations

from typing import Any

import pytest

from k8sext.clients.runtime import Kind, Model, Standard, WithScale, WithStatus


class Everything(Standard[Model], WithStatus[Model], WithScale[Model]):
    """A resource with all that a resource can have."""


class Recorder:
    """A connection that notes what would have been sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def request(self, method: str, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        self.sent.append((method, path))
        return {}


def resource(recorder: Recorder, namespace: str = "shop") -> Any:
    return Everything(recorder, Kind(Model, "", "v1", "ConfigMap", "configmaps", True), namespace)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../namespaces/other"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(name: str) -> None:
    recorder = Recorder()
    maps = resource(recorder)
    item = Model.from_dict({"metadata": {"name": name}})
    for call in (
        lambda: maps.get(name),
        lambda: maps.delete(name),
        lambda: maps.patch(name, {}),
        lambda: maps.update(item),
        lambda: maps.apply(item, "me"),
        lambda: maps.update_status(item),
        lambda: maps.patch_status(name, {}),
        lambda: maps.get_scale(name),
        lambda: maps.scale(name, 0),
    ):
        with pytest.raises(ValueError, match="name"):
            call()
    assert recorder.sent == []


def test_a_strange_name_is_quoted_and_reaches_no_other_object() -> None:
    recorder = Recorder()
    resource(recorder).delete("odd?x")
    resource(recorder).get("odd#1")
    folder = "/api/v1/namespaces/shop/configmaps"
    assert recorder.sent == [("DELETE", f"{folder}/odd%3Fx"), ("GET", f"{folder}/odd%231")]


def test_a_namespace_is_checked_too() -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="namespace"):
        resource(recorder, "a/b").delete_collection()
    with pytest.raises(ValueError, match="belongs to a namespace"):
        resource(recorder, "").delete("web")
    assert recorder.sent == []
