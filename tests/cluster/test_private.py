"""The throwaway API server for lessons that need API-server flags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from k8sext.cluster import private_api_server
from k8sext.cluster.errors import ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("programs")]


def test_it_serves_with_flags_and_files_of_ones_own_and_is_gone_afterwards() -> None:
    policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"
    flags = ["--audit-policy-file={folder}/audit.yaml", "--audit-log-path={folder}/audit.log"]
    with private_api_server(flags, {"audit.yaml": policy}) as server:
        server.kubectl("create", "namespace", "lesson")
        assert '"lesson"' in (server.folder / "audit.log").read_text()
        guest = server.kubeconfig_for("guest", ["class"])
        assert (
            server.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=guest) == "guest"
        )
        with pytest.raises(ClusterError, match='User "guest" cannot list'):
            server.kubectl("get", "secrets", kubeconfig=guest)
        folder = server.folder
    assert not folder.exists()
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if any(str(folder) in part for part in p.info["cmdline"] or [])
    ]


def test_a_flag_that_the_server_does_not_know_is_said_with_its_words() -> None:
    with pytest.raises(ClusterError, match="unknown flag: --no-such-flag"), private_api_server(["--no-such-flag"]):
        pytest.fail("it started")


def test_a_file_outside_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is no file name of your own"), private_api_server((), {"../outside": ""}):
        pytest.fail("it started")


def test_a_process_that_ends_in_the_middle_of_its_block_leaves_nothing(tmp_path: Path) -> None:
    lines = ("from k8sext.cluster import private_api_server", "kept = private_api_server()", "kept.__enter__()")
    subprocess.run([sys.executable, "-c", "\n".join(lines)], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_the_users_own_defaults_for_kubectl_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preferences = tmp_path / "kuberc"
    preferences.write_text(
        "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"
        "defaults: [{command: get, options: [{name: output, default: json}]}]\n"
    )
    monkeypatch.setenv("KUBERC", str(preferences))
    with private_api_server() as server:
        assert server.kubectl("get", "namespace", "default").startswith("NAME")
