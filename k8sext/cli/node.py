"""`k8sext node`: nodes join, lose their power, get it back, and leave."""

from __future__ import annotations

from typing import Annotated

import typer

from k8sext import cluster
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import Layout, layout

Name = Annotated[str | None, typer.Option("--name", help="The cluster's name (default: $K8SEXT_CLUSTER or k8sext).")]
Data = Annotated[str | None, typer.Option("--data", help="A folder for its files (default: in the XDG state folder).")]
app = typer.Typer(help="Nodes: add, stop, start, remove.", no_args_is_help=True)
NodeName = Annotated[str, typer.Argument(help="As `kubectl get nodes` names it.")]


@app.command("add")
def node_add(
    node: NodeName,
    zone: Annotated[str, typer.Option(help="Its zone; the region is the part before the last dash.")] = "lab-a",
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; can be repeated.")] = None,
    taint: Annotated[list[str] | None, typer.Option(help="KEY=VALUE:EFFECT; can be repeated.")] = None,
    capacity: Annotated[list[str] | None, typer.Option(help="RESOURCE=QUANTITY, as cpu=8; can be repeated.")] = None,
    name: Name = None,
    data: Data = None,
) -> None:
    """A node joins the cluster."""
    cluster.add_node(find(name, data), node, zone, label or (), taint or (), capacity or ())
    print(f"Node {node} is Ready.")


@app.command("stop")
def node_stop(node: NodeName, name: Name = None, data: Data = None) -> None:
    """Take a node's power away: its containers end at once, and it is NotReady within 20 seconds."""
    cluster.stop_node(find(name, data), node)
    print(f"Node {node} is without power; within 20 seconds the control plane calls it NotReady.")


@app.command("start")
def node_start(node: NodeName, name: Name = None, data: Data = None) -> None:
    """Give a stopped node its power back."""
    cluster.start_node(find(name, data), node)
    print(f"Node {node} is Ready.")


@app.command("rm")
def node_rm(node: NodeName, name: Name = None, data: Data = None) -> None:
    """Take a node out of the cluster for good."""
    cluster.remove_node(find(name, data), node)
    print(f"Node {node} is gone.")


def find(name: str | None, data: str | None) -> Layout:
    """The files of a cluster that is up, or was. Raises ClusterError where there is none."""
    where = layout(name, data)
    if not where.read_config():
        raise ClusterError(
            f"There is no cluster {where.name}. Start it with: k8sext up" + (f" --name {name}" if name else "")
        )
    return where
