"""Volumes stand at their mountPath by each of the three ways, as far as it goes."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.cri.handlers.process import isolation
from k8sext.infra.cri.handlers.process.isolation import SERVICE_ACCOUNT, Bubblewrap, Mount, Plain, PRoot
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import StatusError
from tests.support.eventually import eventually_async


def path_without(folder: Path, *hidden: str) -> str:
    """Return a PATH with all programs of this machine but some."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for program in ("setpriv", "bwrap", "proot"):
        if program not in hidden and (found := shutil.which(program)):
            (bin_folder / program).symlink_to(found)
    return str(bin_folder)


@pytest.fixture
def with_only(folder: Path, start_server: Callable[..., Any], connect: Any) -> Callable[[str], Any]:
    """Start a runtime that finds only one of the ways; skip, loudly, where the machine lacks it."""

    def start(name: str) -> Any:
        hidden = {"bubblewrap": ("proot",), "proot": ("bwrap",), "none": ("bwrap", "proot")}[name]
        way = {"bubblewrap": Bubblewrap("bwrap"), "proot": PRoot("proot"), "none": Plain()}[name]
        if not isolation.works(way):
            pytest.skip(f"{name} does not work on this machine: install it, and allow user namespaces for bubblewrap")
        server = start_server(environment={"PATH": path_without(folder, *hidden)})
        return connect(server, server.socket)

    return start


@pytest.mark.parametrize("way", ["bubblewrap", "proot"])
async def test_volumes_and_the_service_account_stand_at_their_place(folder: Path, with_only: Any, way: str) -> None:
    runtime = with_only(way)
    (folder / "token").mkdir()
    (folder / "token" / "token").write_text("secret\n")
    mounts = [
        api.Mount(container_path=SERVICE_ACCOUNT, host_path=str(folder / "token"), readonly=True),
        api.Mount(container_path=str(folder / "deep" / "down"), host_path=str(folder / "made-by-the-runtime")),
        api.Mount(container_path="/dev/termination-log", host_path=str(_file(folder / "termination"))),
        api.Mount(container_path="/etc/hosts", host_path=str(_file(folder / "hosts", "10.244.1.2 web-0\n"))),
    ]
    reads, writes = (
        f"cat {SERVICE_ACCOUNT}/token /etc/hosts",
        f"echo written > {folder}/deep/down/file; echo why > /dev/termination-log",
    )
    container = await runtime.shell(f"{reads}; {writes}; exec sleep 1000", mounts=mounts)
    await runtime.logged("stdout F secret", "stdout F 10.244.1.2 web-0")
    await eventually_async(lambda: (folder / "termination").read_text() == "why\n")
    assert (folder / "made-by-the-runtime" / "file").read_text() == "written\n"
    assert (await runtime.execute(container, "cat", f"{folder}/deep/down/file")).stdout == b"written\n"
    assert not Path(SERVICE_ACCOUNT, "token").exists()
    await runtime.stop(container, timeout=15)
    assert (await runtime.status(container)).exit_code == 143


@pytest.mark.parametrize("way", ["bubblewrap", "proot", "none"])
async def test_exit_codes_and_kills_pass_through(with_only: Any, way: str) -> None:
    runtime = with_only(way)
    assert (await runtime.ended(await runtime.shell("exit 7", name="exits"))).exit_code == 7
    killed = await runtime.ended(await runtime.shell("kill -KILL $$", name="killed"))
    assert killed.exit_code == 137
    assert runtime.log("killed") == []  # nobody but the program writes into its log
    container = await runtime.shell("setsid sleep 4321 & echo $!; while :; do sleep 0.05; done", name="stays")
    await eventually_async(lambda: runtime.log("stays"))
    pid = int(runtime.log("stays")[0].split()[-1])
    await runtime.stop(container)
    await eventually_async(lambda: not Path(f"/proc/{pid}").exists())


async def test_bubblewrap_makes_mounts_and_the_root_read_only(folder: Path, with_only: Any) -> None:
    runtime = with_only("bubblewrap")
    mounts = [
        api.Mount(container_path="/fixed", host_path=str(folder / "fixed"), readonly=True),
        api.Mount(container_path="/scratch", host_path=str(folder / "scratch")),
    ]
    security = api.LinuxContainerSecurityContext(readonly_rootfs=True)
    script = (
        "touch /fixed/x || echo fixed; touch /x || echo root; touch /etc/x || echo etc; touch /scratch/x && echo "
        "scratch"
    )
    await runtime.ended(
        await runtime.shell(script, mounts=mounts, linux=api.LinuxContainerConfig(security_context=security))
    )
    assert [line for line in runtime.log() if line.startswith("stdout")] == [
        f"stdout F {word}" for word in ("fixed", "root", "etc", "scratch")
    ]


@pytest.mark.parametrize("place", ["/dev/not-there", "/etc/not-there", "/scratch"])
async def test_devices_work_below_a_read_only_root_whatever_is_mounted_beside_them(
    folder: Path, with_only: Any, place: str
) -> None:
    """A termination log is mounted in /dev, which is put together anew for it."""
    runtime = with_only("bubblewrap")
    (folder / "message").touch()
    mounts = [api.Mount(container_path=place, host_path=str(folder / "message"))]
    security = api.LinuxContainerSecurityContext(readonly_rootfs=True)
    script = f"echo x > /dev/null && head -c 3 /dev/zero | wc -c && echo said > {place}"
    await runtime.ended(
        await runtime.shell(script, mounts=mounts, linux=api.LinuxContainerConfig(security_context=security))
    )
    assert [line for line in runtime.log() if line.startswith("stdout")] == ["stdout F 3"]
    assert (folder / "message").read_text() == "said\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run as another user")
async def test_another_user_reads_what_is_mounted_below_folders_that_are_not_there(
    folder: Path, with_only: Any
) -> None:
    runtime = with_only("bubblewrap")
    (folder / "token").mkdir()
    (folder / "token" / "token").write_text("secret\n")
    places = ("/run/not-there/yet", "/not/there/before", "/opt/not/there")
    mounts = [api.Mount(container_path=place, host_path=str(folder / "token"), readonly=True) for place in places]
    security = api.LinuxContainerSecurityContext(run_as_user=api.Int64Value(value=1234))
    script = " ".join(["cat", *(f"{place}/token" for place in places)])
    ended = await runtime.ended(
        await runtime.shell(script, mounts=mounts, linux=api.LinuxContainerConfig(security_context=security))
    )
    assert (ended.exit_code, runtime.log()) == (0, ["stdout F secret"] * 3)


async def test_who_starts_the_runtime_with_another_umask_changes_nothing_in_containers(
    start_server: Callable[..., Any], connect: Any
) -> None:
    server = start_server(wrapper=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    runtime = connect(server, server.socket)
    await runtime.ended(await runtime.shell("umask; touch made; stat -c %a made"))
    assert runtime.log() == ["stdout F 0022", "stdout F 644"]


async def test_who_starts_the_runtime_with_few_descriptors_can_run_containers(
    start_server: Callable[..., Any], connect: Any
) -> None:
    server = start_server(wrapper=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    runtime = connect(server, server.socket)
    await runtime.ended(await runtime.shell("echo runs"))
    assert runtime.log() == ["stdout F runs"]


async def test_bubblewrap_gives_a_pod_its_hostname_and_name_servers(with_only: Any) -> None:
    runtime = with_only("bubblewrap")
    dns = api.DNSConfig(servers=["10.96.0.10"], searches=["default.svc.cluster.local"], options=["ndots:5"])
    sandbox = await runtime.sandbox(hostname="web-0", dns_config=dns)
    await runtime.ended(await runtime.shell("uname -n; cat /etc/resolv.conf", sandbox=sandbox))
    lines = ["web-0", "search default.svc.cluster.local", "nameserver 10.96.0.10", "options ndots:5"]
    assert runtime.log() == [f"stdout F {line}" for line in lines]
    assert socket.gethostname() != "web-0"


async def test_bubblewrap_hides_masked_paths(with_only: Any) -> None:
    runtime = with_only("bubblewrap")
    security = api.LinuxContainerSecurityContext(masked_paths=["/proc/version", "/sys/kernel"])
    script = "cat /proc/version; ls /sys/kernel; echo end"
    await runtime.ended(await runtime.shell(script, linux=api.LinuxContainerConfig(security_context=security)))
    assert [line for line in runtime.log() if line.startswith("stdout")] == ["stdout F end"]


async def test_without_mounts_the_service_account_comes_by_environment(folder: Path, with_only: Any) -> None:
    runtime = with_only("none")
    token = folder / "token"
    token.mkdir()
    (token / "namespace").write_text("shop")
    mounts = [
        api.Mount(container_path=SERVICE_ACCOUNT, host_path=str(token), readonly=True),
        api.Mount(container_path="/etc/hosts", host_path=str(_file(folder / "hosts"))),
    ]
    envs = [
        api.KeyValue(key="KUBERNETES_SERVICE_HOST", value=b"127.0.0.1"),
        api.KeyValue(key="KUBERNETES_SERVICE_PORT", value=b"6443"),
    ]
    await runtime.ended(
        await runtime.shell("echo $K8SEXT_SERVICEACCOUNT_DIR; cat $KUBECONFIG", mounts=mounts, envs=envs)
    )
    first, *rest = [line.split(" ", 2)[2] for line in runtime.log()]
    assert first == str(token)
    kubeconfig = json.loads("".join(rest))
    assert kubeconfig["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority": f"{token}/ca.crt",
    }
    assert kubeconfig["users"][0]["user"] == {"tokenFile": f"{token}/token"}
    assert kubeconfig["contexts"][0]["context"]["namespace"] == "shop"


async def test_without_mounts_other_volumes_are_refused_with_what_to_install(folder: Path, with_only: Any) -> None:
    runtime = with_only("none")
    await runtime.sandbox()
    error = await runtime.refusal(
        runtime.create(["true"], mounts=[api.Mount(container_path="/data", host_path=str(folder))])
    )
    assert "install the package 'proot' or 'bubblewrap'" in (error.details() or "")
    same = api.Mount(container_path=str(folder), host_path=str(folder))
    assert (await runtime.ended(await runtime.run(["true"], mounts=[same]))).exit_code == 0


def test_a_missing_mount_point_opens_the_deepest_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("target")
    target = tmp_path / "a" / "b" / "c"
    arguments = " ".join(Bubblewrap("bwrap").wrapper([Mount("/tmp", str(target))], "/", readonly=False, hostname=""))
    opened = f"--tmpfs {tmp_path}/a --symlink target {tmp_path}/a/link"
    assert f"{opened} --dir {tmp_path}/a/b --dev-bind /tmp {target}" in arguments


def test_a_folder_inside_another_mount_is_left_to_that_mount(tmp_path: Path) -> None:
    mounts = [Mount("/tmp", f"{tmp_path}/a"), Mount("/tmp", f"{tmp_path}/a/b/c"), Mount("/tmp", f"{tmp_path}/d/e")]
    arguments = Bubblewrap("bwrap").wrapper(mounts, "/", readonly=False, hostname="")
    made = [arguments[at + 1] for at, argument in enumerate(arguments) if argument == "--dir"]
    assert made == [f"{tmp_path}/d"]


def test_a_mount_point_behind_a_link_is_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to(tmp_path / "run")
    arguments = " ".join(
        Bubblewrap("bwrap").wrapper([Mount("/tmp", f"{tmp_path}/var/run/x")], "/", readonly=False, hostname="")
    )
    assert f"--dev-bind /tmp {tmp_path}/run/x" in arguments


def test_proot_cannot_mount_paths_with_a_colon() -> None:
    with pytest.raises(StatusError, match="without a colon"):
        PRoot("proot").check([Mount("/a:b", "/data")])


def test_without_any_way_only_what_needs_no_mount_passes() -> None:
    Plain().check([Mount("/x", SERVICE_ACCOUNT), Mount("/y", "/etc/hosts"), Mount("/same", "/same")])
    with pytest.raises(StatusError, match="cannot mount a volume at '/data'"):
        Plain().check([Mount("/x", "/data")])


def _file(path: Path, text: str = "") -> Path:
    path.write_text(text)
    path.chmod(0o666)
    return path
