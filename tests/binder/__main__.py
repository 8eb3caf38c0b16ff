"""Imitate Binder, as root: `python -m tests.binder [COMMAND ...]`, without a command all notebooks.

Build first, as an ordinary user in a folder of its own: a clone, an environment, `binder/postBuild`. Then run the
command behind `binder/start` as Binder would: no user namespaces, no new privileges, no network but loopback, 2 GiB of
memory and one processor. What mybinder.org itself sets is in its chart, jupyterhub/mybinder.org-deploy,
mybinder/values.yaml.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from k8sext.cluster.paths import cache_folder

ROOT = Path(__file__).parents[2]
USER = 1000
MEMORY = 2 * 2**30
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
NO_RIGHTS = "setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all --no-new-privs"
# A user namespace in which nobody can make another one: the limit counts for it and what is below it.
RESTRICTED = (
    *("unshare", "--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps"),
    *("--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", f'echo 0 > /proc/sys/user/max_user_namespaces && ip link set lo up && exec {NO_RIGHTS} "$@"', "sh"),
)


def main(words: list[str]) -> int:
    """Build and run; returns the command's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.binder", description=__doc__)
    parser.add_argument("--python", default="/usr/bin/python3", help="a Python that an ordinary user may run")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run [default: python -m tests.notebooks]")
    chosen = parser.parse_args(words)
    if os.geteuid() != 0:
        print("Only root can take rights away as Binder does: run this with sudo.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="k8sext-binder-", dir="/var/tmp") as folder, limits() as groups:
        home = Path(folder)
        build(home, chosen.python)
        command = [
            *AS_USER,
            *RESTRICTED,
            str(home / "clone/binder/start"),
            *(chosen.command or ["python", "-m", "tests.notebooks"]),
        ]
        return run(command, home, groups=groups)


def build(home: Path, python: str) -> None:
    """What Binder does once: the clone, an environment, postBuild. Programs that this machine has already are lent."""
    home.chmod(0o755)
    clone = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(home / "clone")]
    subprocess.run(clone, check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null"})
    if (lent := cache_folder() / "programs").is_dir():
        shutil.copytree(lent, home / ".cache/k8sext/programs")
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
    for command in ([python, "-m", "venv", str(home / "venv")], [str(home / "clone/binder/postBuild")]):
        if code := run([*AS_USER, *command], home):
            sys.exit(code)


def run(command: list[str], home: Path, groups: list[Path] | None = None) -> int:
    """Run in the clone, in these control groups, with an environment that holds nothing of ours. Returns the exit
    code."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(("PIP_", "SSL_", "LANG")) or "PROXY" in key.upper()
    }
    environment = {"HOME": str(home), "PATH": f"{home}/venv/bin:/usr/local/bin:/usr/bin:/bin", "USER": "jovyan", **kept}

    def confine() -> None:
        for group in groups or []:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))} if groups else os.sched_getaffinity(0))

    return subprocess.run(command, cwd=home / "clone", env=environment, preexec_fn=confine).returncode


@contextlib.contextmanager
def limits() -> Iterator[list[Path]]:
    """A control group with Binder's memory, version 2 or 1; afterwards the most that was used is printed."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()
    group = (root / "memory" if old else root) / f"k8sext-binder-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(MEMORY))
        yield [group]
        peak = group / ("memory.max_usage_in_bytes" if old else "memory.peak")
        print(f"at most {int(peak.read_text()) / 2**20:.0f} MiB of memory were used, files in its cache counted")
    finally:
        for number in (group / "cgroup.procs").read_text().split():
            Path("/sys/fs/cgroup").joinpath("memory" if old else "", "cgroup.procs").write_text(number)
        group.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
