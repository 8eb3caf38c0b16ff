"""One process serves the nodes that nodes.json wants, as it changes; and the command line says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.cri import __main__ as server
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.server import NodePool
from tests.support.eventually import eventually_async


def write(folder: Path, **states: str) -> None:
    nodes = [
        {"name": name, "index": index, "state": state} for index, (name, state) in enumerate(states.items(), start=1)
    ]
    (folder / "nodes.json.new").write_text(json.dumps({"nodes": nodes, "light": {"count": 0}}))
    (folder / "nodes.json.new").replace(folder / "nodes.json")


@pytest.fixture
def pool(folder: Path, start_server: Callable[..., Any]) -> Callable[..., Any]:
    def start(**states: str) -> Any:
        write(folder, **states)
        return start_server(
            *(
                "--nodes",
                f"{folder}/nodes.json",
                "--root-dir",
                f"{folder}/root",
                "--socket-dir",
                str(folder),
                "--loopback",
                "127.99",
            )
        )

    return start


async def test_each_node_has_a_socket_and_addresses_of_its_own(folder: Path, pool: Any, connect: Any) -> None:
    server = pool(alpha="running", beta="running")
    for index, name in enumerate(("alpha", "beta"), start=1):
        runtime = connect(server, folder / f"cri-{name}.sock")
        sandbox = await runtime.sandbox()
        request = api.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
        status = await runtime.calls.PodSandboxStatus(request)
        assert (status.status.network.ip, status.info["bindAddress"]) == (f"10.244.{index}.2", f"127.99.{index}.2")
        assert [item.id for item in (await runtime.calls.ListPodSandbox(api.ListPodSandboxRequest())).items] == [
            sandbox
        ]
        assert (folder / f"cri-{name}.sock").stat().st_mode & 0o777 == 0o600


async def test_a_stopped_node_is_dead_at_once_and_remembers_when_it_comes_back(
    folder: Path, pool: Any, connect: Any
) -> None:
    server = pool(alpha="running")
    runtime = connect(server, folder / "cri-alpha.sock")
    container = await runtime.shell("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    await eventually_async(runtime.log)
    pid = int(runtime.log()[0].split()[-1])
    write(folder, alpha="stopped")
    await eventually_async(lambda: not Path(f"/proc/{pid}").exists() and not (folder / "cri-alpha.sock").exists())
    write(folder, alpha="running")
    await eventually_async((folder / "cri-alpha.sock").exists)
    back = connect(server, folder / "cri-alpha.sock")
    status = (
        await back.calls.ContainerStatus(api.ContainerStatusRequest(container_id=container), wait_for_ready=True)
    ).status
    assert (status.state, status.exit_code) == (api.CONTAINER_EXITED, 137)


async def test_a_removed_node_leaves_no_process_and_no_folder(folder: Path, pool: Any, connect: Any) -> None:
    server = pool(alpha="running", beta="running")
    runtime = connect(server, folder / "cri-alpha.sock")
    await runtime.shell("echo $$; exec sleep 4321")
    await eventually_async(runtime.log)
    pid = int(runtime.log()[0].split()[-1])
    shim = server.shim("alpha")
    write(folder, beta="running")
    gone = (Path(f"/proc/{pid}"), Path(f"/proc/{shim}"), folder / "root" / "alpha", folder / "cri-alpha.sock")
    await eventually_async(lambda: not any(path.exists() for path in gone))
    assert (folder / "root" / "beta").exists()


async def test_a_node_that_was_removed_while_no_server_ran_is_cleaned_up_too(
    folder: Path, pool: Any, connect: Any
) -> None:
    server = pool(alpha="running", beta="running")
    runtime = connect(server, folder / "cri-alpha.sock")
    await runtime.run(["sleep", "4321"])
    shim = server.shim("alpha")
    server.stop()
    write(folder, beta="running")
    server.start()
    await eventually_async(lambda: not Path(f"/proc/{shim}").exists() and not (folder / "root" / "alpha").exists())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"nodes": 3}', '{"nodes": [{"name": "../x", "index": 1, "state": "running"}]}']
)
async def test_a_broken_nodes_file_changes_nothing(folder: Path, pool: Any, connect: Any, content: str) -> None:
    server = pool(alpha="running")
    runtime = connect(server, folder / "cri-alpha.sock")
    container = await runtime.run(["sleep", "4321"])
    (folder / "nodes.json").write_text(content)
    await eventually_async(lambda: "cannot be read, nothing is changed" in (folder / "log").read_text())
    assert (await runtime.status(container)).state == api.CONTAINER_RUNNING


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give either --nodes, --root-dir and --socket-dir or --listen and --root"),
        (["--nodes", "x"], "--nodes needs --root-dir and --socket-dir"),
        (["--listen", "unix:///x"], "--listen needs --root"),
        (["--listen", "tcp://x", "--root", "x"], "is not of the form unix:///PATH"),
        (["--listen", "unix:///x", "--root", "x", "--loopback", "10.0"], "is not of the form 127.X"),
        (["--listen", f"unix:///{'x' * 120}", "--root", "{tmp}"], "is longer than 107 bytes"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    command = [
        sys.executable,
        "-m",
        "k8sext.infra.cri",
        *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "300"})
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_options() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "k8sext.infra.cri", "--help"], capture_output=True, text=True, check=True
    )
    assert all(
        option in done.stdout
        for option in ("--nodes", "--root-dir", "--socket-dir", "--listen", "--root", "--loopback")
    )


async def test_a_server_whose_nodes_cannot_be_served_any_more_says_what_it_died_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_: NodePool) -> None:
        raise ZeroDivisionError("of the pool")

    monkeypatch.setattr(NodePool, "run", die)
    places = ["--root-dir", str(tmp_path / "root"), "--socket-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["cri", "--nodes", str(tmp_path / "nodes.json"), *places])
    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", lambda *_: None)
    with pytest.raises(ZeroDivisionError, match="of the pool"):
        await server._serve(server._options(server._parser()))
