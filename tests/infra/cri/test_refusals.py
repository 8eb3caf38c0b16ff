"""What `process` cannot do is refused with a sentence; what is hostile does no harm."""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest

from k8sext.infra.cri.handlers.process.identity import identity
from k8sext.infra.cri.proto import api_pb2 as api

Security = api.LinuxContainerSecurityContext
LOCALHOST = api.SecurityProfile(profile_type=api.SecurityProfile.Localhost, localhost_ref="x.json")
ROOT = os.geteuid() == 0


@pytest.mark.parametrize(
    ("security", "sentence"),
    [
        (Security(privileged=True), "cannot run privileged containers"),
        (Security(seccomp=LOCALHOST), "cannot load seccomp profiles"),
        (Security(apparmor=LOCALHOST), "cannot load AppArmor profiles"),
        (Security(capabilities=api.Capability(add_capabilities=["NO_SUCH"])), "cannot add the capabilities NO_SUCH"),
        (Security(capabilities=api.Capability(add_ambient_capabilities=["KILL"])), "cannot add ambient capabilities"),
        (Security(run_as_username="no-such-user"), "knows no user 'no-such-user'"),
        (Security(run_as_group=api.Int64Value(value=5)), "runAsGroup needs runAsUser"),
    ],
)
async def test_a_security_context_that_cannot_be_honoured_is_refused(
    runtime: Any, security: Security, sentence: str
) -> None:
    error = await runtime.refusal(runtime.create(["true"], linux=api.LinuxContainerConfig(security_context=security)))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in (error.details() or "")


@pytest.mark.parametrize(
    ("linux", "sentence"),
    [
        (
            api.LinuxPodSandboxConfig(sysctls={"kernel.shm_rmid_forced": "1"}),
            "cannot set sysctls (kernel.shm_rmid_forced)",
        ),
        (api.LinuxPodSandboxConfig(security_context=api.LinuxSandboxSecurityContext(privileged=True)), "privileged"),
        (
            api.LinuxPodSandboxConfig(
                security_context=api.LinuxSandboxSecurityContext(
                    namespace_options=api.NamespaceOption(userns_options=api.UserNamespace(mode=api.POD))
                )
            ),
            "remove hostUsers: false",
        ),
    ],
)
async def test_a_pod_that_asks_for_the_impossible_is_refused(
    runtime: Any, linux: api.LinuxPodSandboxConfig, sentence: str
) -> None:
    error = await runtime.refusal(runtime.sandbox(linux=linux))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in (error.details() or "")


async def test_what_a_kubelet_sends_for_an_ordinary_pod_is_accepted(runtime: Any) -> None:
    unconfined = api.SecurityProfile(profile_type=api.SecurityProfile.Unconfined)
    options = api.NamespaceOption(network=api.POD, pid=api.CONTAINER, ipc=api.POD)
    security = Security(
        namespace_options=options,
        seccomp=unconfined,
        capabilities=api.Capability(drop_capabilities=["ALL"]),
        no_new_privs=True,
        run_as_user=api.Int64Value(value=os.getuid()),
        masked_paths=["/proc/kcore", "/proc/keys", "/proc/no-such-file", "/sys/firmware"],
        readonly_paths=["/proc/bus", "/proc/sys"],
    )
    resources = api.LinuxContainerResources(
        cpu_shares=102, cpu_quota=20000, cpu_period=100000, memory_limit_in_bytes=64 << 20, oom_score_adj=-997
    )
    linux = api.LinuxContainerConfig(security_context=security, resources=resources)
    container = await runtime.run(["true"], linux=linux)
    assert (await runtime.ended(container)).exit_code == 0


async def test_an_unknown_runtime_handler_is_refused(runtime: Any) -> None:
    error = await runtime.refusal(
        runtime.calls.RunPodSandbox(api.RunPodSandboxRequest(config=runtime.pod(), runtime_handler="kata"))
    )
    assert "no handler 'kata'" in (error.details() or "")


async def test_a_container_without_command_or_with_an_unknown_image_is_refused(runtime: Any) -> None:
    error = await runtime.refusal(runtime.create([]))
    assert "give the container a command" in (error.details() or "")
    error = await runtime.refusal(runtime.create(["true"], image=api.ImageSpec(image="nginx")))
    assert (error.code(), "pull it first" in (error.details() or "")) == (grpc.StatusCode.NOT_FOUND, True)


@pytest.mark.parametrize("identifier", ["../../etc", "/etc/passwd", "a" * 5000, "x\x00y", "\u202e", "%2e%2e"])
async def test_hostile_ids_are_only_unknown_ids(runtime: Any, identifier: str) -> None:
    error = await runtime.refusal(runtime.calls.ContainerStatus(api.ContainerStatusRequest(container_id=identifier)))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    await runtime.calls.RemoveContainer(api.RemoveContainerRequest(container_id=identifier))
    await runtime.calls.RemovePodSandbox(api.RemovePodSandboxRequest(pod_sandbox_id=identifier))


async def test_an_empty_id_is_an_error_everywhere(runtime: Any) -> None:
    for call in (
        runtime.calls.ContainerStatus(api.ContainerStatusRequest()),
        runtime.calls.StartContainer(api.StartContainerRequest()),
        runtime.calls.StopContainer(api.StopContainerRequest()),
        runtime.calls.RemoveContainer(api.RemoveContainerRequest()),
        runtime.calls.StopPodSandbox(api.StopPodSandboxRequest()),
        runtime.calls.RemovePodSandbox(api.RemovePodSandboxRequest()),
        runtime.calls.ExecSync(api.ExecSyncRequest(cmd=["true"])),
    ):
        assert (await runtime.refusal(call)).code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("path", ["../../escape.log", "/tmp/escape.log", "a/../../escape.log"])
async def test_a_log_cannot_leave_the_log_folder(runtime: Any, path: str) -> None:
    error = await runtime.refusal(runtime.create(["true"], log_path=path))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        (api.Mount(container_path="relative", host_path="/tmp"), "give an absolute path"),
        (api.Mount(container_path="/a/../../b", host_path="/tmp"), "without '..'"),
        (api.Mount(container_path="/", host_path="/tmp"), "not the root folder"),
        (api.Mount(container_path="/data", host_path="tmp"), "must be absolute"),
        (
            api.Mount(container_path="/data", host_path="/tmp", propagation=api.PROPAGATION_BIDIRECTIONAL),
            "only private mounts",
        ),
        (api.Mount(container_path="/data", image=api.ImageSpec(image="x")), "cannot mount images"),
    ],
)
async def test_mounts_that_make_no_sense_are_refused(runtime: Any, mount: api.Mount, sentence: str) -> None:
    error = await runtime.refusal(runtime.create(["true"], mounts=[mount]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in (error.details() or "")


async def test_a_pod_cidr_that_is_none_is_refused(runtime: Any) -> None:
    config = api.RuntimeConfig(network_config=api.NetworkConfig(pod_cidr="nonsense"))
    error = await runtime.refusal(
        runtime.calls.UpdateRuntimeConfig(api.UpdateRuntimeConfigRequest(runtime_config=config))
    )
    assert "is not an IPv4 range" in (error.details() or "")


@pytest.mark.skipif(ROOT, reason="root may run programs as anyone")
async def test_another_user_is_refused_without_root(runtime: Any) -> None:
    security = Security(run_as_user=api.Int64Value(value=os.getuid() + 1))
    error = await runtime.refusal(runtime.create(["true"], linux=api.LinuxContainerConfig(security_context=security)))
    assert "without root" in (error.details() or "")


def test_root_of_a_node_without_root_is_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert identity(Security(run_as_user=api.Int64Value(value=0))) is None


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="only root can become another user")
async def test_root_runs_a_program_as_the_user_that_was_asked_for(runtime: Any) -> None:
    security = Security(
        run_as_user=api.Int64Value(value=1234),
        run_as_group=api.Int64Value(value=1235),
        supplemental_groups=[1236],
        no_new_privs=True,
    )
    linux = api.LinuxContainerConfig(security_context=security)
    container = await runtime.shell(
        "id -u; id -g; id -G; grep -E 'NoNewPrivs|CapEff' /proc/self/status; sleep 1000", linux=linux
    )
    await runtime.logged("stdout F 1234", "stdout F 1235", "stdout F NoNewPrivs:\t1", f"stdout F CapEff:\t{0:016x}")
    groups = set(runtime.log()[2].removeprefix("stdout F ").split())
    assert groups == {"1235", "1236"}
    assert (await runtime.execute(container, "id", "-u")).stdout == b"1234\n"
    assert (await runtime.status(container)).user.linux.uid == 1234


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="only root has capabilities to keep or drop")
async def test_root_keeps_only_the_usual_capabilities(runtime: Any) -> None:
    async def effective(**capabilities: Any) -> int:
        security = Security(capabilities=api.Capability(**capabilities))
        container = await runtime.run(
            ["grep", "CapEff", "/proc/self/status"], linux=api.LinuxContainerConfig(security_context=security)
        )
        await runtime.ended(container)
        mask = int(runtime.log()[-1].split()[-1], 16)
        (runtime.logs / "main.log").unlink()
        return mask

    chown, net_admin = 1 << 0, 1 << 12
    assert await effective() & (chown | net_admin) == chown
    assert await effective(add_capabilities=["CAP_NET_ADMIN"]) & net_admin
    assert not await effective(drop_capabilities=["chown"]) & chown
    assert await effective(drop_capabilities=["ALL"]) == 0
