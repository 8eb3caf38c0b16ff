"""Whatever order things happen in, an object is released once, after both initializers, in order; or it fails, and
stays failed.

The store is a dictionary with optimistic locking, admission and controllers are the real ones, and Hypothesis chooses
the order of their steps: a controller reads, thinks, writes, is killed anywhere and starts again with what it had in
memory lost, while a user changes the object.
"""

from __future__ import annotations

import asyncio
import copy

from hypothesis import given
from hypothesis import strategies as st

from k8sext.admission import Denied
from k8sext.admission.initializers.controller import Initializer, initialized, initializer, is_next
from k8sext.admission.initializers.model import Initializers, Invalid, read
from k8sext.admission.initializers.plugin import guard, stamp
from k8sext.kube.objects import Json
from k8sext.kube.resource import DEPLOYMENTS
from tests.admission.initializers.objects import configuration, of, rule

ON_DEPLOYMENTS = [rule(["deployments"], ["apps"])]


def mark(name: str) -> Initializer:
    def function(item: Json, _client: object) -> None:
        item["spec"].setdefault("marks", []).append(name)
        if item["spec"].get("forbidden"):
            raise Denied("forbidden", code=403)

    return initializer(name, "deployments.apps")(function)


FIRST, SECOND = mark("first.init.example"), mark("second.init.example")
CONFIGURATIONS = [configuration("both", (FIRST.name, ON_DEPLOYMENTS), (SECOND.name, ON_DEPLOYMENTS))]


class Server:
    """One stored object, and how often it was released."""

    def __init__(self, item: Json) -> None:
        stamp(item, None, DEPLOYMENTS, CONFIGURATIONS)
        self.item: Json = item | {"version": 1}
        self.released: list[list[str]] = []

    def update(self, item: Json) -> bool:
        """Store a change; False is a conflict."""
        if item["version"] != self.item["version"]:
            return False
        stamp(item, self.item, DEPLOYMENTS, [])
        guard(item, self.item, DEPLOYMENTS)
        if read(self.item) is not None and read(item) is None:
            self.released.append(list(item["spec"].get("marks", [])))
        assert item["spec"].get("paused", False) == (read(item) is not None)
        self.item = item | {"version": item["version"] + 1}
        return True


class Controller:
    """One of several copies of an initializer: reads, thinks, writes; and forgets all when it is killed."""

    def __init__(self, server: Server, initializer: Initializer) -> None:
        self.server, self.initializer = server, initializer
        self.seen: Json | None = None
        self.wanted: Json | None = None

    def step(self) -> None:
        if self.wanted is not None:
            self.server.update(self.wanted)
            self.kill()
        elif self.seen is None:
            self.seen = copy.deepcopy(self.server.item)
        elif is_next(self.seen, self.initializer.name):
            self.wanted = asyncio.run(initialized(self.seen, self.initializer))
        else:
            self.kill()

    def kill(self) -> None:
        self.seen = self.wanted = None


STEPS = ("first", "first's twin", "second", "kill first", "kill twin", "kill second", "user")


@given(st.lists(st.sampled_from(STEPS), max_size=40), st.booleans())
def test_any_interleaving_ends_released_once_and_in_order(steps: list[str], forbidden: bool):
    server = Server(of("Deployment", replicas=1, **({"forbidden": True} if forbidden else {})))
    assert read(server.item) == Initializers((FIRST.name, SECOND.name))
    controllers = {
        "first": Controller(server, FIRST),
        "twin": Controller(server, FIRST),
        "second": Controller(server, SECOND),
    }
    actions = {
        "first": controllers["first"].step,
        "first's twin": controllers["twin"].step,
        "second": controllers["second"].step,
        "kill first": controllers["first"].kill,
        "kill twin": controllers["twin"].kill,
        "kill second": controllers["second"].kill,
        "user": lambda: server.update(copy.deepcopy(server.item) | {"touched": True}),
    }
    for step in [*steps, *["first", "second"] * 12]:
        actions[step]()
    if forbidden:
        assert server.released == []
        found = read(server.item)
        assert found is not None
        assert found.result is not None
        assert found.pending == (FIRST.name, SECOND.name)
        assert "marks" not in server.item["spec"]
    else:
        assert server.released == [[FIRST.name, SECOND.name]]
        assert server.item["spec"]["marks"] == [FIRST.name, SECOND.name]
        assert read(server.item) is None


@given(st.lists(st.lists(st.sampled_from(["a.b.c", "d.e.f", "g.h.i"]), unique=True), max_size=6), st.data())
def test_no_sequence_of_updates_ever_initializes_an_object_twice(lists: list[list[str]], data: st.DataObject):
    """Any user, any list: once an object is initialized, it stays so."""
    server = Server(of("Deployment"))
    for names in lists:
        item = copy.deepcopy(server.item)
        item["metadata"]["annotations"] = dict(item["metadata"].get("annotations") or {})
        item["metadata"]["annotations"]["initializers.k8s.packt.com/pending"] = ",".join(names)
        was = read(server.item)
        try:
            server.update(item)
        except Invalid:
            assert was is None
        if data.draw(st.booleans()) and was is None:
            assert read(server.item) is None
    assert len(server.released) <= 1
