"""What a Docker daemon and nodes in containers want of this machine's kernel: settings, and chains of iptables; and how
all is put back."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    # Where Docker itself switches forwarding on, it also drops what others forward.
    Path("/proc/sys/net/ipv4/ip_forward"): 1,
    # Kubelets and container runtimes watch files, and all root's containers share this limit (usually 128).
    Path("/proc/sys/fs/inotify/max_user_instances"): 1024,
}


@contextmanager
def kernel_made_ready() -> Iterator[None]:
    """Change settings for the length of a block, and put back all that was changed, by Docker too. Raises OSError
    without the right to."""
    before, rules = {setting: int(setting.read_text()) for setting in SETTINGS}, _saved()
    for setting, least in SETTINGS.items():
        setting.write_text(str(max(least, before[setting])))
    try:
        yield
    finally:
        for command in removals(rules, _saved()):
            subprocess.run(command, capture_output=True)
        for setting, value in before.items():
            setting.write_text(str(value))


def _saved() -> str:
    return subprocess.run(["iptables-save"], capture_output=True, text=True).stdout


def removals(before: str, after: str) -> list[list[str]]:
    """The commands that take out the rules and chains of Docker which one iptables-save has and an earlier one had
    not."""
    known = set(_lines(before))
    new = [(table, line) for table, line in _lines(after) if "DOCKER" in line and (table, line) not in known]
    chains = [(table, line[1:].split()[0]) for table, line in new if line.startswith(":")]
    rules = [("-D" + line[2:], table) for table, line in new if line.startswith("-A")]
    return [
        *(["iptables", "-t", table, *shlex.split(rule)] for rule, table in rules),
        *(["iptables", "-t", table, option, chain] for option in ("-F", "-X") for table, chain in chains),
    ]


def _lines(saved: str) -> Iterator[tuple[str, str]]:
    """Every chain and rule, with its table; without counters, which change by themselves."""
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            yield table, line.partition(" [")[0]
        elif line.startswith("-A"):
            yield table, line
