"""Connecting: only where one is told to, and with a clear sentence when that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from k8sext.kube import connect
from k8sext.kube.request import Unreachable, request

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: first, user: me}}
- {name: two, context: {cluster: second, user: me}}
clusters:
- {name: first, cluster: {server: "https://127.0.0.1:1001", insecure-skip-tls-verify: true}}
- {name: second, cluster: {server: "https://127.0.0.1:1002", insecure-skip-tls-verify: true}}
users:
- {name: me, user: {token: secret}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    return path


@pytest.mark.parametrize(("context", "port"), [(None, 1001), ("one", 1001), ("two", 1002)])
async def test_the_context_decides_the_server(kubeconfig: Path, context: str | None, port: int) -> None:
    client = await connect.from_kubeconfig(kubeconfig, context)
    assert client.configuration.host == f"https://127.0.0.1:{port}"
    await client.close()


async def test_a_missing_context_is_named(kubeconfig: Path) -> None:
    with pytest.raises(connect.ConnectError, match="three"):
        await connect.from_kubeconfig(kubeconfig, "three")


async def test_several_files_are_merged_as_kubectl_does(kubeconfig: Path, tmp_path: Path) -> None:
    """As the variable of a shell that `ctx-auto --shell` starts: a file of one line in front of the learner's own."""
    (first := tmp_path / "first").write_text("apiVersion: v1\nkind: Config\ncurrent-context: two\n")
    for files, port in (((first, tmp_path / "nowhere", kubeconfig), 1002), ((kubeconfig, first), 1001)):
        client = await connect.from_kubeconfig(os.pathsep.join(map(str, files)))
        assert client.configuration.host == f"https://127.0.0.1:{port}"
        await client.close()
    with pytest.raises(connect.ConnectError, match="there is no kubeconfig at"):
        await connect.from_kubeconfig(f"{tmp_path}/nowhere{os.pathsep}{tmp_path}/neither")


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(connect.ConnectError, match=r"no kubeconfig at .*nowhere"):
        await connect.from_kubeconfig(tmp_path / "nowhere")


async def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("- hello\n")
    with pytest.raises(connect.ConnectError, match="cannot be used"):
        await connect.from_kubeconfig(tmp_path / "config")


@pytest.mark.parametrize(
    ("environment", "named", "proxy"),
    [
        ({}, "", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://other:3128", "http://other:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,127.0.0.1"}, "", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "", None),
    ],
)
async def test_a_proxy_is_the_kubeconfigs_or_the_environments(
    environment: dict[str, str], named: str, proxy: str | None, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if named:
        kubeconfig.write_text(KUBECONFIG.replace("cluster: {server", f'cluster: {{proxy-url: "{named}", server'))
    client = await connect.from_kubeconfig(kubeconfig)
    assert client.rest_client.proxy == proxy
    await client.close()


async def test_netrc_is_nobodys_token(kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    kubeconfig.write_text(KUBECONFIG.replace("1001", "9"))
    client = await connect.from_kubeconfig(kubeconfig)
    # Nobody listens. Two kinds of credentials would be another mistake.
    with pytest.raises(Unreachable, match="Cannot connect"):
        await request(client, "GET", "/version")
    await client.close()


async def test_a_pod_finds_its_service_account_where_the_runtime_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate_authority: str
) -> None:
    (tmp_path / "token").write_text("my-token")
    (tmp_path / "ca.crt").write_text(certificate_authority)
    monkeypatch.setenv("K8SEXT_SERVICEACCOUNT_DIR", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    client = await connect.in_cluster()
    assert client.configuration.host == "https://127.0.0.1:6443"
    assert client.configuration.api_key["BearerToken"] == "bearer my-token"
    await client.close()


async def test_outside_a_pod_in_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(connect.ConnectError, match="does not run in a pod"):
        await connect.in_cluster()


def test_the_asynchronous_half_can_be_loaded_alone() -> None:
    script = """
import sys
from k8sext.kube.connect import leave_out_synchronous_half
leave_out_synchronous_half()
import kubernetes.aio.client
assert "kubernetes.config" not in sys.modules
assert "requests" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
