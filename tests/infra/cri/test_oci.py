"""The handler `oci`: containers with a root folder, namespaces and a network of their own. Nothing touches this
machine's network."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from k8sext.infra import upgrade
from k8sext.infra.cri.built_in import BUILT_IN
from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.cri.shimclient import SOURCE_ROOT
from tests.infra.cri.conftest import Runtime, Server
from tests.infra.cri.spdy_client import Client
from tests.support.eventually import eventually_async

WAYS = {
    "root": ["unshare", "--net"],
    "user namespace": ["unshare", "--user", "--map-root-user", "--net"],
    "no root": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
}


def processes_that_name(path: Path) -> list[str]:
    """Return the command lines in which a path occurs."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [line] if str(path) in line else []
    return found


class Pods(Runtime):
    """A client whose sandboxes are of the handler `oci`."""

    async def sandbox(self, **config: Any) -> str:
        """Run a sandbox and return its id."""
        request = api.RunPodSandboxRequest(config=self.pod(**config), runtime_handler="oci")
        return (await self.calls.RunPodSandbox(request, wait_for_ready=True, timeout=30)).pod_sandbox_id

    async def ip(self, sandbox: str) -> str:
        """Return a sandbox's address."""
        answer = await self.calls.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox))
        return answer.status.network.ip

    async def output(self, script: str, **config: Any) -> list[str]:
        """Run a shell script as a container to its end and return what it printed."""
        status = await self.ended(await self.shell(script, **config))
        assert status.exit_code == 0, (status, self.log())
        return [line.split(" ", 2)[2] for line in self.log()]

    async def security(self, script: str, **security: Any) -> list[str]:
        """The same with a security context."""
        context = api.LinuxContainerSecurityContext(**security)
        return await self.output(script, linux=api.LinuxContainerConfig(security_context=context))


def python_for(way: list[str], folder: Path) -> str:
    """Return a Python that can be run in a way: ours, or, where it stands in somebody's home, the system's with our
    packages."""
    if _runs(way, sys.executable):
        return sys.executable
    system = shutil.which("python3", path="/usr/local/bin:/usr/bin")
    if system is None or subprocess.run([system, "-m", "venv", "--without-pip", folder]).returncode != 0:
        pytest.skip(f"{sys.executable} cannot be run this way, and the system has no Python with the module venv")
    packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(packages, "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{SOURCE_ROOT}\n")
    if not _runs(way, f"{folder}/bin/python"):
        pytest.skip(f"neither {sys.executable} nor {system} with our packages can be run this way")
    return f"{folder}/bin/python"


def _runs(way: list[str], python: str) -> bool:
    again = "import grpc, k8sext, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    return subprocess.run([*way, python, "-c", again], capture_output=True, cwd="/").returncode == 0


@pytest.fixture(scope="session", params=WAYS)
def oci_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server in a network of its own: as root, as root of a user namespace, and without any right."""
    if reasons := possible.obstacles():
        pytest.skip(f"the handler oci cannot be used here: {'; '.join(reasons)}")
    if os.geteuid() != 0 and request.param != "user namespace":
        pytest.skip("needs root")
    path = Path(tempfile.mkdtemp(prefix="oci"))
    path.chmod(0o777)
    python = python_for(WAYS[request.param], path / "environment")
    with subprocess.Popen(
        [*WAYS[request.param], "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        entering = {"root": ["--net"], "user namespace": ["--user", "--preserve-credentials", "--net"]}.get(
            request.param
        )
        wrapper = ["nsenter", f"--target={holder.pid}", *entering, "--"] if entering else WAYS[request.param]
        try:
            server = Server(path, wrapper=wrapper, python=python)
            yield server
            server.end()
        finally:
            holder.kill()
    assert processes_that_name(path) == []
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def pods(oci_server: Server) -> AsyncIterator[Pods]:
    """A client of the shared server; what a test made is removed."""
    async with grpc.aio.insecure_channel(f"unix:{oci_server.socket}") as channel:
        client = Pods(oci_server, channel)
        yield client
        for sandbox in (await client.calls.ListPodSandbox(api.ListPodSandboxRequest(), wait_for_ready=True)).items:
            await client.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))


async def test_a_container_runs_and_its_output_is_logged(pods: Pods):
    assert await pods.output("echo hello; pwd; hostname") == ["hello", "/", "localhost"]


async def test_a_pod_has_its_own_network_and_reaches_other_pods(pods: Pods):
    one, two = await pods.sandbox(), await pods.sandbox()
    first, second = await pods.ip(one), await pods.ip(two)
    assert first != second and first.startswith("10.244.0.1")
    script = (
        "import socket, sys; s = socket.socket(); s.settimeout(5); "
        f"print(s.connect_ex(('{second}', 9)), s.getsockname()[0])"
    )
    await pods.ended(await pods.run(["python", "-c", script], sandbox=one))
    assert pods.log() == [f"stdout F {errno.ECONNREFUSED} {first}"]


@pytest.mark.parametrize("oci_server", ["no root"], indirect=True)  # the others listen in networks of their own
async def test_a_port_is_forwarded_to_the_pods_own_localhost(pods: Pods):
    """A server that other pods do not reach; the connections are made in the pod's network."""
    sandbox = await pods.sandbox()
    server = "import http.server as h; h.HTTPServer(('127.0.0.1', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    await pods.run(["python", "-c", server], sandbox=sandbox)

    async def forwarded(port: int) -> tuple[bytes, bytes]:
        """What comes back from a request, and what the error stream says."""
        request = api.PortForwardRequest(pod_sandbox_id=sandbox, port=[port])
        url = (await pods.calls.PortForward(request)).url
        async with upgrade.connect(url, "SPDY/3.1", []) as (connection, _):
            client = Client(*connection)
            error, data = (client.open({"streamtype": kind, "port": str(port)}) for kind in ("error", "data"))
            client.send(data, b"GET / HTTP/1.0\r\n\r\n")
            await eventually_async(lambda: client.ended & {data, error})
            client.give_up(data)
            await client.close()
        return client.data[data], client.data[error]

    async def answers() -> bool:
        return b"200 OK" in (await forwarded(8080))[0]

    while not await answers():  # until it listens
        await asyncio.sleep(0.05)
    assert await forwarded(9) == (b"", f"error forwarding port 9 to pod {sandbox}, uid : Connection refused".encode())
    await pods.calls.StopPodSandbox(api.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    refusal = await pods.refusal(pods.calls.PortForward(api.PortForwardRequest(pod_sandbox_id=sandbox, port=[8080])))
    assert refusal.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_containers_of_a_pod_share_network_and_ipc_and_have_processes_of_their_own(pods: Pods):
    sandbox = await pods.sandbox()
    look = "for kind in net ipc uts pid mnt; do readlink /proc/self/ns/$kind; done; echo pid $$"
    options = api.NamespaceOption(pid=api.CONTAINER)
    linux = api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext(namespace_options=options))
    for name in ("one", "two"):
        await pods.ended(await pods.shell(look, sandbox=sandbox, name=name, linux=linux))
    one, two = pods.log("one"), pods.log("two")
    assert one[:3] == two[:3]
    assert one[5] == two[5] == "stdout F pid 1"


async def test_a_pod_can_share_its_processes(pods: Pods):
    options = api.NamespaceOption(pid=api.POD)
    security = api.LinuxSandboxSecurityContext(namespace_options=options)
    sandbox = await pods.sandbox(linux=api.LinuxPodSandboxConfig(security_context=security))
    linux = api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext(namespace_options=options))
    await pods.shell("exec sleep 4321", sandbox=sandbox, name="sleeper", linux=linux)
    two = await pods.shell("exec sleep 1000", sandbox=sandbox, name="other", linux=linux)
    found = await pods.execute(two, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert b"sleep 4321" in found.stdout and b"tail -f" in found.stdout


async def in_shared_pod(pods: Pods, script: str, name: str = "main") -> str:
    """Run a container in a pod of its own whose containers share their processes, and return its id."""
    options = api.NamespaceOption(pid=api.POD)
    security = api.LinuxSandboxSecurityContext(namespace_options=options)
    sandbox = await pods.sandbox(linux=api.LinuxPodSandboxConfig(security_context=security))
    linux = api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext(namespace_options=options))
    return await pods.shell(script, sandbox=sandbox, name=name, linux=linux)


async def test_what_a_container_leaves_in_a_shared_pid_namespace_ends_with_it(pods: Pods):
    container = await in_shared_pod(pods, "(setsid sleep 8765 &) ; echo left; exec sleep 1000")
    await pods.logged("stdout F left")
    await eventually_async(lambda: processes_that_name(Path("sleep 8765")))
    await pods.stop(container)
    assert processes_that_name(Path("sleep 8765")) == []


async def test_a_container_that_ends_harms_no_other_to_which_the_kernel_gave_its_namespace_number(
    pods: Pods, oci_server: Server
):
    folder = oci_server.root / "node" / "cri" / "containers"

    def pid(container: str) -> int:
        return int((folder / container / "pid").read_text())

    def mounts(number: int) -> str:
        with contextlib.suppress(OSError):  # it is dead
            return os.readlink(f"/proc/{number}/ns/mnt")  # noqa: PTH115
        return ""

    healthy, reused = await pods.sandbox(), ""  # made before: its namespaces want numbers, too
    for attempt in range(20):
        ending = await in_shared_pod(pods, "exec sleep 1000", name=f"ending-{attempt}")
        process, number = json.loads((folder / ending / "process.json").read_text()), mounts(pid(ending))
        os.kill(process["init"], signal.SIGSTOP)  # it learns of the end when the number has been given out again
        try:
            await eventually_async(lambda process=process: _state(process["init"]) == "T")
            os.kill(pid(ending), signal.SIGKILL)
            await eventually_async(lambda process=process: _state(process["main"]) == "Z")
            for n in range(4):
                other = await pods.shell("exec sleep 1000", sandbox=healthy, name=f"healthy-{attempt}-{n}")
                if mounts(pid(other)) == number:
                    reused = other
                    break
        finally:
            os.kill(process["init"], signal.SIGCONT)
        await pods.ended(ending)
        if reused:
            assert mounts(pid(reused)) == number
            assert (await pods.execute(reused, "echo", "well")).stdout == b"well\n"
            return
    pytest.fail("the kernel gave the number to nobody in 20 rounds: the test proves nothing")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_commands_are_executed_inside_with_their_exit_codes(pods: Pods):
    container = await pods.shell("echo inside > /tmp/file; exec sleep 1000")
    await eventually_async(lambda: _stdout(pods, container, "cat", "/tmp/file"))
    assert (await pods.execute(container, "sh", "-c", "echo oh >&2; exit 7")).exit_code == 7
    error = await pods.refusal(pods.execute(container, "sleep", "100", timeout=1))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def _stdout(pods: Pods, container: str, *command: str) -> bytes:
    return (await pods.execute(container, *command)).stdout


async def test_stop_sends_the_signal_to_the_program_itself(pods: Pods):
    container = await pods.shell("trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done")
    await pods.logged("stdout F up")
    await pods.stop(container, timeout=15)
    assert ((await pods.status(container)).exit_code, pods.log()[-1]) == (5, "stdout F asked")


async def test_a_container_that_does_not_listen_is_killed_with_all_its_processes(pods: Pods):
    container = await pods.shell("trap '' TERM; sleep 9876 & echo up; while :; do sleep 0.05; done")
    await pods.logged("stdout F up")
    await pods.stop(container, timeout=1)
    assert (await pods.status(container)).exit_code == 128 + signal.SIGKILL
    assert processes_that_name(Path("sleep 9876")) == []


async def test_the_root_folder_can_be_made_read_only(pods: Pods):
    assert await pods.security("touch /new 2>&1 || echo refused", readonly_rootfs=True) == [
        "touch: cannot touch '/new': Read-only file system",
        "refused",
    ]


async def test_rights_are_those_that_were_asked_for(pods: Pods):
    look = "grep -E 'CapBnd|NoNewPrivs' /proc/self/status | tr -d '\\t'"
    dropped = api.Capability(drop_capabilities=["ALL"], add_capabilities=["NET_BIND_SERVICE"])
    assert await pods.security(look, capabilities=dropped, no_new_privs=True) == [
        "CapBnd:0000000000000400",
        "NoNewPrivs:1",
    ]


async def test_a_volume_stands_at_its_place(pods: Pods, oci_server: Server):
    volume = Path(tempfile.mkdtemp(dir=oci_server.folder))
    volume.chmod(0o777)
    (volume / "file").write_text("from outside\n")
    mounts = [
        api.Mount(container_path="/data", host_path=str(volume)),
        api.Mount(container_path="/data/ro", host_path=str(volume / "ro"), readonly=True),
    ]
    script = "cat /data/file; echo new > /data/new; touch /data/ro/x 2>/dev/null || echo read-only"
    assert await pods.output(script, mounts=mounts) == ["from outside", "read-only"]
    assert (volume / "new").read_text() == "new\n"


async def test_name_servers_and_host_name_are_the_pods(pods: Pods):
    dns = api.DNSConfig(servers=["10.96.0.10"], searches=["default.svc.cluster.local"])
    sandbox = await pods.sandbox(hostname="web-0", dns_config=dns)
    assert await pods.output("hostname; cat /etc/resolv.conf", sandbox=sandbox) == [
        "web-0",
        "search default.svc.cluster.local",
        "nameserver 10.96.0.10",
    ]


async def test_a_program_that_is_not_there_is_said_in_one_sentence(pods: Pods):
    container = await pods.create(["/no/such/program"])
    error = await pods.refusal(pods.calls.StartContainer(api.StartContainerRequest(container_id=container)))
    assert "/no/such/program" in (error.details() or "") and "not found" in (error.details() or "")
    assert (await pods.status(container)).reason == "StartError"


@pytest.mark.parametrize(
    ("security", "sentence"),
    [
        ({"seccomp": api.SecurityProfile(profile_type=api.SecurityProfile.Localhost)}, "seccomp"),
        ({"run_as_username": "nobody-here"}, "knows no user 'nobody-here'"),
        ({"run_as_group": api.Int64Value(value=7)}, "runAsGroup needs runAsUser"),
    ],
)
async def test_what_cannot_be_given_is_refused_with_a_sentence(pods: Pods, security: Any, sentence: str):
    context = api.LinuxContainerSecurityContext(**security)

    async def attempt() -> None:
        await pods.run(["true"], linux=api.LinuxContainerConfig(security_context=context))

    assert sentence in ((await pods.refusal(attempt())).details() or "")


async def test_users_are_those_that_were_asked_for_where_there_are_several(pods: Pods, oci_server: Server):
    asked = {"run_as_user": api.Int64Value(value=1234), "run_as_group": api.Int64Value(value=567)}
    if oci_server.wrapper[2:] == ["--net", "--"]:
        assert await pods.security("id -u; id -g; id -G", supplemental_groups=[89], **asked) == [
            "1234",
            "567",
            "567 89",
        ]
    else:
        error = await pods.refusal(pods.security("id", **asked))
        assert "without root there is one user" in (error.details() or "")


async def test_a_sysctl_of_the_pods_network_is_set(pods: Pods):
    name = "net.ipv4.ip_unprivileged_port_start"
    sandbox = await pods.sandbox(linux=api.LinuxPodSandboxConfig(sysctls={name: "80"}))
    assert await pods.output(f"cat /proc/sys/{name.replace('.', '/')}", sandbox=sandbox) == ["80"]
    request = api.RunPodSandboxRequest(
        config=pods.pod(linux=api.LinuxPodSandboxConfig(sysctls={"vm.swappiness": "1"})), runtime_handler="oci"
    )
    assert "whole machine" in ((await pods.refusal(pods.calls.RunPodSandbox(request))).details() or "")


async def test_the_server_may_be_killed_and_finds_its_pods_again(pods: Pods, oci_server: Server):
    container = await pods.shell("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
    await pods.logged("stdout F up")
    oci_server.stop(signal.SIGKILL)
    oci_server.start()
    await pods.back()
    assert (await pods.status(container)).state == api.CONTAINER_RUNNING
    assert (await pods.execute(container, "echo", "still here")).stdout == b"still here\n"
    await pods.stop(container, timeout=15)
    assert (await pods.status(container)).exit_code == 3


async def test_a_pod_whose_first_process_is_killed_is_not_ready_and_can_be_removed(pods: Pods, oci_server: Server):
    sandbox = await pods.sandbox()
    note = oci_server.root / "node" / "cri" / "containers" / sandbox / "process.json"
    os.kill(json.loads(note.read_text())["main"], signal.SIGKILL)

    async def not_ready() -> bool:
        answer = await pods.calls.PodSandboxStatus(api.PodSandboxStatusRequest(pod_sandbox_id=sandbox))
        return answer.status.state == api.SANDBOX_NOTREADY

    await eventually_async(not_ready)
    await pods.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert not note.parent.exists()


async def test_after_a_pods_end_nothing_of_it_is_left(pods: Pods, oci_server: Server):
    cri = oci_server.root / "node" / "cri"
    sandbox = await pods.sandbox()
    container = await pods.shell("exec sleep 1000", sandbox=sandbox)
    await pods.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    assert processes_that_name(Path(container)) == processes_that_name(Path(sandbox)) == []
    assert list((cri / "containers").iterdir()) == []
    assert json.loads((cri / "cni" / "pods" / "addresses.json").read_text())["addresses"] == {}
    assert str(oci_server.folder) not in Path("/proc/self/mountinfo").read_text()


async def test_the_built_in_image_is_the_same_under_both_handlers(pods: Pods):
    script = "import k8sext; print(k8sext.__version__)"
    await pods.ended(await pods.run(["python", "-c", script]))
    assert pods.log() == [f"stdout F {BUILT_IN.rpartition(':')[2]}"]


@pytest.mark.parametrize("milliseconds", [1, 30, 100])
async def test_a_container_whose_start_was_given_up_can_be_stopped(pods: Pods, milliseconds: int):
    container = await pods.create(["sleep", "1000"])
    call = pods.calls.StartContainer(api.StartContainerRequest(container_id=container))
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(call, milliseconds / 1000)
    await asyncio.wait_for(pods.stop(container, timeout=0), 10)
    assert (await pods.status(container)).state in (api.CONTAINER_EXITED, api.CONTAINER_CREATED)
