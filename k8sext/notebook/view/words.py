"""The view in words: a line for each zone, node, waiting pod and chosen resource, the same for the same world."""

from __future__ import annotations

from itertools import groupby

from k8sext.notebook.view.model import Pod, World


def describe(world: World, namespace: str | None) -> str:
    """Say in words what a world holds; names come with their namespace when all namespaces are shown."""
    world = world.only(namespace)
    scope = f"the namespace {namespace}" if namespace else "all namespaces"
    lines = [f"The cluster, with the pods of {scope}:"]
    for zone, nodes in groupby(world.nodes, key=lambda node: node.zone):
        lines.append(f"zone {zone}")
        for node in nodes:
            pods = ", ".join(_pod(pod, namespace) for pod in world.on(node)) or "-"
            name = " ".join(part for part in (node.name, node.marks, "" if node.ready else "(not ready)") if part)
            lines.append(f"  {name}: {pods}")
    lines += [f"waiting: {title(pod.namespace, pod.name, namespace)}: {pod.why}" for pod in world.waiting()]
    for kind, found in world.resources:
        if found is None:
            lines.append(f"{kind}: no such kind yet")
        else:
            told = (title(item.namespace, item.name, namespace) + _in_brackets(item.state) for item in found)
            lines.append(f"{kind}: {', '.join(told) or '-'}")
    return "\n".join(lines)


def title(namespace: str, name: str, shown: str | None) -> str:
    """Return a name, with its namespace in front unless only that one is shown."""
    return name if shown or not namespace else f"{namespace}/{name}"


def _pod(pod: Pod, namespace: str | None) -> str:
    told = f"{pod.state}: {pod.why}" if pod.why else pod.state
    return title(pod.namespace, pod.name, namespace) + _in_brackets(told)


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
