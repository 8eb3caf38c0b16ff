"""SIGKILL between any two steps of the plugin: afterwards DEL or GC leaves no link and no address."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

FATAL_IP = """#!/bin/sh
# an `ip` that kills its caller, the plugin, before or after its n-th call
count=$(($(cat {folder}/count 2>/dev/null || echo 0) + 1))
echo $count > {folder}/count
[ $count = {call} ] && [ {moment} = before ] && kill -9 $PPID && exit 1
{ip} "$@"
code=$?
[ $count = {call} ] && [ {moment} = after ] && kill -9 $PPID
exit $code
"""


@pytest.fixture
def deadly(machine, tmp_path: Path):
    """Return a function that has the plugin killed at one of its calls of `ip`."""

    def call(command: str, pod: str, number: int, moment: str) -> bool:
        folder = tmp_path / f"{command}-{number}-{moment}"
        folder.mkdir()
        script = FATAL_IP.format(folder=folder, call=number, moment=moment, ip=shutil.which("ip"))
        (folder / "ip").write_text(script)
        (folder / "ip").chmod(0o755)
        try:
            machine.call(command, pod, PATH=f"{folder}:{os.environ['PATH']}")
        except AssertionError:  # killed: no answer, and an exit code that is not 0
            return True
        return False

    return call


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_add_leaves_nothing_after_del(machine, deadly, moment):
    killed = 0
    for number in range(1, 4):
        killed += deadly("ADD", "one", number, moment)
        assert machine.call("DEL", "one") is None
        assert (machine.links(), machine.addresses()) == ([], {})
    assert killed >= 2
    assert "ips" in machine.call("ADD", "one")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_adds_can_be_collected(machine, deadly, moment):
    assert deadly("ADD", "one", 1, moment)
    assert deadly("ADD", "two", 2, moment)
    assert machine.call("GC", network=machine.network(**{"cni.dev/valid-attachments": []})) is None
    assert (machine.links(), machine.addresses()) == ([], {})


def test_an_add_that_was_killed_before_it_made_anything_can_be_tried_again(machine, deadly):
    assert deadly("ADD", "one", 1, "before")
    assert "ips" in machine.call("ADD", "one")


def test_an_ip_that_outlives_its_plugin_is_waited_for(machine, tmp_path):
    (tmp_path / "ip").write_text(
        f'#!/bin/sh\nkill -9 $PPID\nuntil [ -e {tmp_path}/go ]; do :; done\nexec {shutil.which("ip")} "$@"\n'
    )
    (tmp_path / "ip").chmod(0o755)
    with pytest.raises(AssertionError):
        machine.call("ADD", "one", PATH=f"{tmp_path}:{os.environ['PATH']}")
    with ThreadPoolExecutor() as pool:
        later = pool.submit(machine.call, "DEL", "one")
        assert later in wait([later], timeout=0.3).not_done
        (tmp_path / "go").touch()
        assert later.result(timeout=30) is None
    assert (machine.links(), machine.addresses()) == ([], {})


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_del_can_be_repeated(machine, deadly, moment):
    machine.call("ADD", "one")
    assert deadly("DEL", "one", 1, moment)
    assert machine.call("DEL", "one") is None
    assert (machine.links(), machine.addresses()) == ([], {})


@pytest.mark.slow
def test_hundreds_of_attachments_with_kills_in_between_leave_nothing(machine, request):
    rounds = 1000 if request.config.getoption("--long") else 50
    network = machine.network(ipam={"subnet": "10.9.0.0/24"})
    machine.pod("one")
    for number in range(rounds):
        delay = f"{number % 40 / 400:.4f}"
        killer = ["timeout", "--signal=KILL", delay] if number % 2 else []
        machine_enter, machine.enter = machine.enter, [*machine.enter, *killer] if killer else machine.enter
        try:
            machine.call("ADD", "one", network)
        except (AssertionError, subprocess.SubprocessError):
            assert killer
        machine.enter = machine_enter
        assert machine.call("DEL", "one", network) is None
    assert (machine.links(), machine.addresses()) == ([], {})
    assert machine.sh("ip -br link | wc -l") in ("2\n", "1\n")
