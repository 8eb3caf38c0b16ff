"""Figures of what really happened: calls that were heard, a queue that a watch remembers, a decision that a scheduler
explained."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from k8sext.infra.csi.proto import csi_pb2 as csi
from k8sext.infra.csi.proto import csi_pb2_grpc
from k8sext.notebook import calls
from k8sext.notebook.calls import Call
from k8sext.notebook.display import Picture
from k8sext.notebook.initializer_queue import draw as draw_queue
from k8sext.notebook.initializer_queue import states
from k8sext.notebook.scheduling_phases import decision
from k8sext.notebook.scheduling_phases import draw as draw_phases
from k8sext.notebook.sequence import sequence

PENDING = "initializers.k8s.packt.com/pending"
RESULT = "initializers.k8s.packt.com/result"
WAYS = {"Node": ("kubelet", "driver"), "Controller": ("provisioner", "driver")}


def is_whole(picture: Picture) -> bool:
    """Whether it is a picture that says in words what it shows, the same each time."""
    data, metadata = picture._repr_mimebundle_()
    assert (data, metadata) == picture._repr_mimebundle_()
    return data["image/png"].startswith(b"\x89PNG") and len(metadata["image/png"]["alt"]) > 40


def test_a_server_tells_its_calls_in_order_into_a_file(tmp_path: Path) -> None:
    file, socket = tmp_path / "calls", tmp_path / "s"
    command = ("k8sext.infra.csi", "--endpoint", f"unix://{socket}", "--data", str(tmp_path / "data"), "--node", "here")
    server = subprocess.Popen([sys.executable, "-m", "k8sext.notebook.calls", "--to", str(file), *command])
    try:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            driver = csi_pb2_grpc.IdentityStub(channel)
            found = driver.GetPluginInfo(csi.GetPluginInfoRequest(), wait_for_ready=True, timeout=60)
            driver.Probe(csi.ProbeRequest())
            driver.Probe(csi.ProbeRequest())
    finally:
        server.terminate()
        server.wait(30)
    assert found.name == "csi.k8sext.dev"
    assert file.read_text() == "".join(
        f"call /csi.v1.Identity/{name}\n" for name in ("GetPluginInfo", "Probe", "Probe")
    )


async def test_a_cni_plugin_that_is_started_is_told_and_no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc.aio, "server", grpc.aio.server)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", asyncio.create_subprocess_exec)
    told = io.StringIO()
    calls.listen_in(told)
    for environment in (None, {"CNI_COMMAND": "ADD"}, {"OTHER": "ADD"}):
        process = await asyncio.create_subprocess_exec("true", env=environment)
        assert await process.wait() == 0
    assert told.getvalue() == "call /CNI/ADD\n"


def test_reading_calls_takes_each_once_and_nothing_else_of_the_log() -> None:
    log = "ready\ncall /a.v1.Node/Stage\n12:00 call me\ncall /a.v1.Node/List\ncall /a.v1.Node/Stage\ncall /CNI/ADD\n"
    assert calls.read(log.splitlines(), without=("List",)) == [Call("Node", "Stage"), Call("CNI", "ADD")]


def test_a_sequence_says_who_called_whom_under_its_headings() -> None:
    heard = [Call("Controller", "CreateVolume"), Call("Node", "NodeStageVolume")]
    picture = sequence("Calls", heard, WAYS, {"NodeStageVolume": "a pod comes"})
    assert is_whole(picture)
    assert picture.text.splitlines() == [
        "Calls",
        "   1. provisioner -> driver: CreateVolume",
        "a pod comes:",
        "   2. kubelet -> driver: NodeStageVolume",
    ]
    with pytest.raises(KeyError):
        sequence("Calls", [Call("Other", "Method")], WAYS)


def deployment(
    name: str, pending: str | None, containers: tuple[str, ...] = ("main",), failed: bool = False
) -> dict[str, Any]:
    annotations = ({} if pending is None else {PENDING: pending}) | (
        {RESULT: '{"status": "Failure"}'} if failed else {}
    )
    template = {"spec": {"containers": [{"name": container} for container in containers]}}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"template": template}}


def test_the_queue_shows_who_waited_who_acted_and_who_refused() -> None:
    changes = [
        ("MODIFIED", deployment("older", None)),
        ("ADDED", deployment("small", "a.x.y,b.x.y")),
        ("ADDED", deployment("big", "a.x.y,b.x.y")),
        ("MODIFIED", deployment("small", "b.x.y")),
        ("MODIFIED", deployment("small", "b.x.y")),
        ("MODIFIED", deployment("big", "a.x.y", failed=True)),
        ("DELETED", deployment("big", "a.x.y", failed=True)),
        ("MODIFIED", deployment("small", None, ("main", "sidecar"))),
    ]
    picture = draw_queue(states([{"type": kind, "object": item} for kind, item in changes]))
    assert is_whole(picture)
    assert picture.text.splitlines() == [
        "Deployment small",
        "  stored: a, then b to act; containers main",
        "  a wrote and left the queue: b to act; containers main",
        "  b wrote and left the queue: nobody is left, it is let loose; containers main, sidecar",
        "Deployment big",
        "  stored: a, then b to act; containers main",
        "  a refused it: it is removed",
    ]


def explained(scores: str) -> dict[str, Any]:
    prefix = "scheduling.k8sext.io"
    notes = {
        f"{prefix}/filters": '{"one": "TaintToleration: it has one"}',
        f"{prefix}/scores": scores,
        f"{prefix}/node": "two",
    }
    return {"metadata": {"name": "web", "annotations": notes}, "spec": {"nodeName": "two"}}


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ('{"three": {}, "two": {}}', "3. Score: three no points, by lot, two no points, by lot"),
        ('{"three": {"spread": 7, "size": 1}, "two": {"spread": 90.5}}', "3. Score: three 8 points, two 90.5 points"),
    ],
)
def test_the_phases_say_which_nodes_were_left(scores: str, told: str) -> None:
    picture = draw_phases(decision(explained(scores)))
    assert is_whole(picture)
    assert picture.text.splitlines() == [
        "1. queue: the pod web has no node, 3 nodes are there",
        "2. Filter: three, two fit; one is out (TaintToleration: it has one)",
        told,
        "4. Reserve: two",
        "5. Bind: the pod web is on two",
    ]


def test_a_pod_that_no_scheduler_explained_has_no_phases() -> None:
    with pytest.raises(KeyError):
        decision({"metadata": {"name": "web", "annotations": {}}, "spec": {}})
