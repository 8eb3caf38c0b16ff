"""The picture: well-formed, harmless, and small enough however much there is."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from k8sext.kube.objects import Json
from k8sext.notebook.view.details import detail, events_table
from k8sext.notebook.view.drawing import LOOKS, draw
from k8sext.notebook.view.model import Happening, happening_of, world_of
from tests.notebook_view.recorded import NODES, event, node, pod, report, unschedulable

HOSTILE = "<script>alert('x')</script>\"&\x00\x1b[31m\n"
KIND = "weatherreports.k8s.packt.com"


def parsed(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter())


def texts(svg: str) -> str:
    return "\n".join(element.text or "" for element in parsed(svg))


def tags(markup: str) -> set[str]:
    return set(re.findall(r"</?([\w-]+)", markup))


def test_the_picture_names_what_is_there_and_begins_with_a_summary():
    world = world_of(NODES, [pod("web-1", "worker-1"), unschedulable("fast")], {KIND: [report("oslo")], "x.y": None})
    svg = draw(world, "web")
    assert parsed(svg)[1].text == "3 nodes, 2 pods: 1 Running, 1 Waiting"
    for part in (
        "zone lab-b",
        "worker-1",
        "✓ web-1",
        "fast",
        "0/3 nodes are available",
        "oslo · Ready",
        "no such kind yet",
    ):
        assert part in texts(svg)


def test_drawing_the_same_world_twice_gives_the_same_picture():
    world = world_of(NODES, [pod("web-1", "worker-1")], {})
    assert draw(world, None) == draw(world, None)


def test_a_pod_that_just_changed_is_outlined():
    world = world_of(NODES, [pod("web-1", "worker-1")], {})
    assert "stroke-width:3" in draw(world, None, ["web/web-1"])
    assert "stroke-width:3" not in draw(world, None)


def test_states_differ_by_sign_and_not_by_colour_alone():
    assert len({look[0] for look in LOOKS.values()}) == len(LOOKS)


def test_two_hundred_pods_are_all_drawn_and_the_picture_stays_small():
    pods = [pod(f"web-{number}", f"worker-{number % 2 + 1}") for number in range(200)]
    pods += [unschedulable(f"late-{number}") for number in range(200)]
    svg = draw(world_of(NODES, pods, {}), None)
    assert texts(svg).count("✓") == 200 + 1
    assert "and 197 more" in texts(svg)
    assert len(svg) < 100_000


def test_of_a_thousand_nodes_those_with_pods_are_drawn():
    nodes = [node(f"fake-{number:04}", f"zone-{number % 7}") for number in range(1000)]
    svg = draw(world_of(nodes, [pod("web-1", "fake-0999")], {}), None)
    assert "fake-0999" in texts(svg)
    assert "and 970 more nodes" in texts(svg)
    assert len(svg) < 100_000


def test_an_empty_cluster_can_be_drawn():
    assert "0 nodes, 0 pods" in texts(draw(world_of([], [], {}), None))


def test_nothing_that_comes_from_the_cluster_becomes_markup():
    hostile_node = node(HOSTILE, HOSTILE, taint=HOSTILE)
    pods = [pod(HOSTILE, HOSTILE, namespace=HOSTILE), unschedulable(HOSTILE, HOSTILE)]
    world = world_of([hostile_node], pods, {KIND: [report(HOSTILE, HOSTILE, HOSTILE)], HOSTILE: []})
    svg = draw(world, None)
    parsed(svg)
    assert tags(svg) == {"svg", "title", "rect", "text"}
    told = happening_of(event(1, HOSTILE, HOSTILE, HOSTILE))
    item: Json = pod(HOSTILE) | {"kind": "Pod"}
    item["metadata"]["labels"] = {"app": HOSTILE}
    html = detail(item, [told]) + events_table([told], HOSTILE)
    assert not tags(html) & {"script"}
    assert "\x00" not in html + svg
    assert "&lt;script&gt;" in html


def test_the_details_of_a_waiting_pod_say_why_and_show_its_yaml():
    item: Json = unschedulable("fast") | {"kind": "Pod"}
    item["metadata"]["managedFields"] = ["long"]
    html = detail(item, [happening_of(event(1, "fast", message="no node fits")), happening_of(event(2, "other"))])
    assert "Waiting: 0/3 nodes are available" in html
    assert "no node fits" in html
    assert "Created container main" not in html
    assert "phase: Pending" in html
    assert "managedFields" not in html


def test_a_very_long_object_is_cut():
    item = pod("a") | {"kind": "Pod", "data": "x" * 100_000}
    assert len(detail(item, [])) < 30_000


def test_the_latest_events_come_first_and_only_some_are_shown():
    events: list[Happening] = [happening_of(event(number, message=f"message {number}.")) for number in range(40)]
    table = events_table(events, "Recent events")
    assert table.index("message 39.") < table.index("message 38.")
    assert "message 31." not in table
    assert "none yet" in events_table([], "Recent events")
