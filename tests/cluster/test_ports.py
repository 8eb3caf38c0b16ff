"""Which ports a cluster's servers get."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from k8sext.cluster.ports import choose, is_free

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not RANGE.exists(), reason="this system does not say which ports it gives to outgoing connections")
def test_no_outgoing_connection_can_take_the_port_of_a_server_that_restarts() -> None:
    first, last = map(int, RANGE.read_text().split())
    chosen = choose(map(str, range(50)), {})
    assert not [port for port in chosen.values() if first <= port <= last]


def test_each_server_gets_its_own_and_the_one_of_its_last_start_if_it_is_free() -> None:
    before = choose("abc", {})
    with socket.create_server(("127.0.0.1", before["b"])):
        after = choose("abc", before)
    assert (after["a"], after["c"]) == (before["a"], before["c"])
    assert len({*after.values(), before["b"]}) == 4


def test_where_none_of_ours_is_free_any_other_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr("k8sext.cluster.ports.OURS", [taken.getsockname()[1]] * 100)
        assert is_free(choose("a", {})["a"])


def test_a_machine_that_cannot_reach_itself_is_one_sentence() -> None:
    alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a network namespace")
    done = subprocess.run([*alone, sys.executable, "-m", "k8sext", "up"], capture_output=True, text=True)
    assert done.returncode == 1 and "switch the loopback network on with `ip link set lo up`" in done.stderr
