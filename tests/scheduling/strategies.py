"""Random nodes and pods that use everything a scheduler looks at, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from k8sext.kube.objects import Json
from tests.scheduling.building import HOSTNAME, REQUIRED, ZONE, node, pod, taint

NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
PROBES = 120

apps = st.sampled_from(["web", "db", "cache"])
keys = st.sampled_from([ZONE, HOSTNAME, "rack"])
values = st.sampled_from(["1", "2", "30"])
effects = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
some = st.lists


def either(*strategies: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), *strategies)


@st.composite
def nodes(draw: st.DrawFn, number: int) -> Json:
    labels = {"disk": draw(st.sampled_from(["ssd", "hdd"]))}
    if rack := draw(either(values)):
        labels["rack"] = rack
    taints = {
        t["key"]: t for t in draw(some(st.builds(taint, st.sampled_from(["gpu", "team"]), effects, values), max_size=2))
    }
    capacity = {
        "cpu": draw(st.sampled_from(["1", "2500m", "4"])),
        "memory": draw(st.sampled_from(["512Mi", "2Gi"])),
        "pods": draw(st.sampled_from(["3", "5", "110"])),
    }
    if draw(st.booleans()):
        capacity["example.com/gpu"] = "2"
    zone = draw(st.sampled_from(["", "a", "b", "c"]))
    cordoned = draw(st.integers(0, 9)) == 0
    return node(
        f"node-{number}", zone, labels=labels, taints=list(taints.values()), capacity=capacity, unschedulable=cordoned
    )


@st.composite
def expressions(draw: st.DrawFn) -> Json:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]))
    expression: Json = {"key": draw(st.sampled_from(["disk", "rack", ZONE])), "operator": operator}
    if operator in ("In", "NotIn"):
        expression["values"] = draw(some(st.sampled_from(["ssd", "1", "2", "a", "b"]), min_size=1, max_size=2))
    if operator in ("Gt", "Lt"):
        expression["values"] = ["2"]
    return expression


@st.composite
def node_terms(draw: st.DrawFn) -> Json:
    found: Json = {"matchExpressions": draw(some(expressions(), max_size=2))}
    if draw(st.integers(0, 9)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn"]))
        found["matchFields"] = [{"key": "metadata.name", "operator": operator, "values": ["node-1"]}]
    return found


@st.composite
def selectors(draw: st.DrawFn) -> Json:
    if draw(st.integers(0, 9)) == 0:
        return {}
    if draw(st.integers(0, 3)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn"]))
        return {
            "matchExpressions": [
                {"key": "app", "operator": operator, "values": draw(some(apps, min_size=1, max_size=2))}
            ]
        }
    return {"matchLabels": {"app": draw(apps)}}


@st.composite
def pod_terms(draw: st.DrawFn) -> Json:
    found: Json = {"labelSelector": draw(selectors()), "topologyKey": draw(keys)}
    where = draw(st.integers(0, 5))
    if where == 0:
        found["namespaces"] = ["other"]
    if where == 1:
        found["namespaceSelector"] = draw(st.sampled_from([{}, {"matchLabels": {"team": "b"}}]))
    return found


@st.composite
def constraints(draw: st.DrawFn) -> Json:
    found: Json = {
        "maxSkew": draw(st.integers(1, 2)),
        "topologyKey": draw(keys),
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": draw(selectors()),
        "nodeAffinityPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
        "nodeTaintsPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
    }
    if draw(st.booleans()):
        found["minDomains"] = draw(st.integers(1, 4))
    return found


tolerations = st.one_of(
    st.builds(
        lambda key, effect: {"key": key, "operator": "Exists", "effect": effect},
        st.sampled_from(["gpu", "team"]),
        effects,
    ),
    st.builds(
        lambda key, value: {"key": key, "operator": "Equal", "value": value}, st.sampled_from(["gpu", "team"]), values
    ),
    st.just({"operator": "Exists"}),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "100m", "0.75", "2"]),
        "memory": st.sampled_from(["64Mi", "500M", "1Gi"]),
        "example.com/gpu": st.just("1"),
    },
)


@st.composite
def containers(draw: st.DrawFn, name: str) -> Json:
    wanted = draw(requests)
    limits = {key: value for key, value in wanted.items() if "/" in key}
    found: Json = {"name": name, "image": "none", "resources": {"requests": wanted, "limits": limits}}
    if name == "c0" and draw(st.integers(0, 3)) == 0:
        found["ports"] = [
            {
                "containerPort": 80,
                "hostPort": draw(st.sampled_from([80, 81])),
                "hostIP": draw(st.sampled_from(["", "10.0.0.1"])),
            }
        ]
    return found


@st.composite
def pods(draw: st.DrawFn, name: str, on: str = "") -> Json:
    item = pod(name, on, labels={"app": draw(apps)}, namespace=draw(st.sampled_from(list(NAMESPACES))))
    spec = item["spec"]
    spec["containers"] = [draw(containers(f"c{number}")) for number in range(draw(st.integers(1, 2)))]
    spec["initContainers"] = [
        draw(containers(f"i{number}")) | draw(st.sampled_from([{}, {"restartPolicy": "Always"}]))
        for number in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    ]
    affinity: Json = {}
    kind = draw(st.integers(0, 9))
    if kind < 2:
        affinity["podAffinity"] = {REQUIRED: draw(some(pod_terms(), min_size=1, max_size=2))}
    if kind in (1, 2, 3):
        affinity["podAntiAffinity"] = {REQUIRED: draw(some(pod_terms(), min_size=1, max_size=2))}
    if not on:
        spec["schedulerName"] = "judge"
        spec["tolerations"] = draw(some(tolerations, max_size=2))
        if kind in (3, 4):
            spec["nodeSelector"] = {"disk": "ssd"}
        if kind in (5, 6):
            affinity["nodeAffinity"] = {
                REQUIRED: {"nodeSelectorTerms": draw(some(node_terms(), min_size=1, max_size=2))}
            }
        if kind in (6, 7, 8):
            found = draw(some(constraints(), min_size=1, max_size=2, unique_by=lambda c: c["topologyKey"]))
            spec["topologySpreadConstraints"] = found
        if draw(st.integers(0, 9)) == 0:
            spec["runtimeClassName"] = "heavy"  # has an overhead
    spec["affinity"] = affinity
    return item


@dataclass(frozen=True)
class Snapshot:
    """Nodes, pods that run on them, and pods to ask about."""

    nodes: list[Json]
    running: list[Json]
    probes: list[Json]

    def __repr__(self) -> str:
        return f"a snapshot of {len(self.nodes)} nodes and {len(self.running)} running pods"


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    size = draw(st.integers(3, 8))
    running = [
        draw(pods(f"running-{n}", on=f"node-{draw(st.integers(0, size - 1))}")) for n in range(draw(st.integers(0, 14)))
    ]
    return Snapshot([draw(nodes(n)) for n in range(size)], running, [draw(pods(f"probe-{n}")) for n in range(PROBES)])
