"""nodes.json: written in one place, read and followed in the others, also one that another version wrote."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from k8sext.infra import nodes
from k8sext.infra.nodes import Nodes, NodeSpec

WORKER = NodeSpec("worker", 1, labels={"disk": "ssd"}, taints=[{"key": "only", "effect": "NoSchedule"}])
FIRST_RELEASE = {
    "nodes": [{"name": "worker", "index": 1, "state": "stopped", "labels": {}, "taints": [], "capacity": {"cpu": "4"}}],
    "light": {"count": 3},
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    wanted = Nodes({"worker": WORKER, "other": NodeSpec("other", 2, "stopped")}, fake=7)
    nodes.write(tmp_path / "nodes.json", wanted)
    assert nodes.read(tmp_path / "nodes.json") == wanted
    assert [spec.name for spec in wanted.running] == ["worker"]
    assert json.loads((tmp_path / "nodes.json").read_text())["version"] == nodes.VERSION
    assert (WORKER.ip, WORKER.pod_cidr, WORKER.capacity["memory"]) == ("10.244.1.1", "10.244.1.0/24", "8Gi")


def test_the_file_of_the_first_release_has_no_version_and_is_read(tmp_path: Path) -> None:
    (file := tmp_path / "nodes.json").write_text(json.dumps(FIRST_RELEASE))
    assert nodes.read(file) == Nodes({"worker": NodeSpec("worker", 1, "stopped", {}, [], {"cpu": "4"})}, fake=3)


def test_the_first_release_can_read_what_is_written_now(tmp_path: Path) -> None:
    """Its kubelet may still run: it takes exactly these fields of a node, and passes over others of the file."""
    nodes.write(tmp_path / "nodes.json", Nodes({"worker": WORKER}))
    written = json.loads((tmp_path / "nodes.json").read_text())
    assert [*written["nodes"][0]] == [*FIRST_RELEASE["nodes"][0]]
    assert written["light"] == {"count": 0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "does not describe nodes"),
        ("{}", "does not describe nodes"),
        ('{"nodes": 3}', "does not describe nodes"),
        ('{"nodes": [{"name": "a", "index": 1, "colour": "red"}]}', "does not describe nodes"),
        ('{"nodes": [{"name": "../a", "index": 1}]}', "is not a node's name"),
        ('{"nodes": [{"name": "a", "index": 256}]}', "256 is no index of a node"),
        ('{"version": 2, "nodes": []}', "a later version of k8sext"),
    ],
)
def test_a_file_that_makes_no_sense_is_an_error_that_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (file := tmp_path / "nodes.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        nodes.read(file)


async def test_a_follower_hears_of_every_change_and_again_of_what_it_could_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LOOK_SECONDS", 0.01)
    file, heard, answers = tmp_path / "nodes.json", asyncio.Queue[list[str]](), iter([True, False, False, True, True])

    async def make_so(wanted: Nodes) -> bool:
        heard.put_nowait([*wanted.specs])
        return next(answers)

    follower = asyncio.create_task(nodes.follow(file, make_so))
    try:
        async with asyncio.timeout(60):
            nodes.write(file, Nodes({"worker": WORKER}))
            assert await heard.get() == ["worker"]
            nodes.write(file, Nodes({}))
            assert [await heard.get() for _ in range(3)] == [[], [], []], "until it succeeded"
            file.write_text("{")  # changes nothing
            nodes.write(file, Nodes({"worker": WORKER}))
            assert await heard.get() == ["worker"]
    finally:
        follower.cancel()
